"""`poplift up`: every page answers and is drawn by a browser, a deployment runs through the worker, Ctrl-C ends all."""

import contextlib
import html
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from poplift.settings import Settings, child_environment, load_settings
from tests.e2e.browser import OPTIONS, program

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
UP_SECONDS = 180
STOP_SECONDS = 30
RUN_SECONDS = 180
DRAW_SECONDS = 60


@dataclass(frozen=True)
class Platform:
    """A running `poplift up`: its process group, its settings and what it prints."""

    process: subprocess.Popen
    settings: Settings
    log: Path

    def page(self, name, path="/"):
        """Address of one of its pages."""
        return f"http://127.0.0.1:{getattr(self.settings, f'{name}_port')}{path}"


def free_ports(count):
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def processes(home):
    """Everything that was started with this home, wherever it moved to."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("POPLIFT_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
    return found


def wait_for(condition, *, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if (result := condition()) is not None:
                return result
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s: {what()}")


def start(settings, log):
    """`poplift up` in a process group of its own, as a terminal starts it."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "up"],
            env=child_environment(settings, COLUMNS="200"),
            cwd=settings.home,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    wait_for(
        lambda: True if "The platform is up" in log.read_text() or process.poll() is not None else None,
        seconds=UP_SECONDS,
        what=log.read_text,
    )
    assert process.poll() is None, log.read_text()[-4000:]
    return Platform(process, settings, log)


def stop(platform):
    """Ctrl-C: the terminal sends SIGINT to the whole group; returns the seconds until it ended."""
    began = time.monotonic()
    os.killpg(platform.process.pid, signal.SIGINT)
    try:
        platform.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail(f"still running {STOP_SECONDS} s after Ctrl-C:\n{platform.log.read_text()[-3000:]}")
    return time.monotonic() - began


def end(home):
    """After a failed test nothing may stay behind."""
    for line in processes(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(line.split()[0]), signal.SIGKILL)


PORTS = ("api_port", "mlflow_port", "prefect_port", "feast_port", "reports_port")


@contextlib.contextmanager
def running(home, log):
    """The platform over a home on ports of its own; stopped at the end, whatever happened."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    settings = load_settings(home=home, shopper_key="test-key", search_trials=1, **ports)
    try:
        platform = start(settings, log)
        yield platform
        if platform.process.poll() is None:
            stop(platform)
    finally:
        end(home)


@pytest.fixture(scope="module", autouse=True)
def interruptible():
    """A job in the background of a shell ignores Ctrl-C, and so would every process it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def platform(local, tmp_path_factory):
    """The platform over the home that the demo left."""
    with running(local.settings.home, tmp_path_factory.mktemp("up") / "up.log") as found:
        yield found


class Patient(httpx.HTTPTransport):
    """Asks again where Prefect answers 503, as its own clients do: SQLite was busy for it, nothing was written."""

    def handle_request(self, request):
        for wait in (0.5, 1, 2, 4, 8):
            answer = super().handle_request(request)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return answer
            answer.close()
            time.sleep(wait)
        return super().handle_request(request)


@pytest.fixture(scope="module")
def prefect(platform):
    """A client of Prefect's API, once the worker has deployed the flows and works."""
    with httpx.Client(transport=Patient(), base_url=platform.page("prefect", "/api"), timeout=60) as client:

        def working():
            answer = client.post("/work_pools/poplift/workers/filter", json={})
            return (answer.is_success and answer.json()) or None  # 404 until the worker made its pool

        wait_for(working, seconds=UP_SECONDS, what=platform.log.read_text)
        yield client


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory):
    """Where the pictures go, for a person to look at."""
    return tmp_path_factory.mktemp("screenshots")


def browse(address, profile, *options):
    command = [program(), *OPTIONS, f"--user-data-dir={profile}", *options, address]
    return subprocess.run(command, capture_output=True, text=True, timeout=DRAW_SECONDS, check=True).stdout


def text_of(dom):
    """What a person can read of a document."""
    visible = re.sub(r"<(script|style|noscript|template)\b.*?</\1>", " ", dom, flags=re.DOTALL | re.IGNORECASE)
    without_hints = re.sub(r"<wbr>|\u200b", "", visible)  # where a long word may be broken
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", without_hints)).replace("\u200b", "").split())


PAGES = {
    "api": (
        "/docs",
        ["/v1/recommendations/{outlet_id}", "/v1/demand", "/readyz", "Predicted sales of the coming week"],
    ),
    "mlflow": ("/#/models", ["demand", "champion"]),
    "prefect": ("/deployments", ["release", "Every 5 minutes", "monitor", "At 06:00 AM"]),
    "feast": ("/p/poplift/feature-view", ["outlet_ppg_sales", "ppg_trend", "planned_activation"]),
    "reports": ("/", ["monitoring", "Have the inputs moved?", "How good is the model?"]),
}


@pytest.mark.parametrize("name", PAGES)
def test_every_page_of_the_platform_is_drawn_without_a_network(platform, prefect, name, tmp_path, screenshots):
    path, expected = PAGES[name]
    address = platform.page(name, path)
    picture = screenshots / f"{name}.png"
    settle = "--virtual-time-budget=15000"
    browse(address, tmp_path / "browser", settle, f"--screenshot={picture}")
    seen = text_of(browse(address, tmp_path / "browser", settle, "--dump-dom"))
    missing = [words for words in expected if words.lower() not in seen.lower()]
    assert not missing, f"{address} does not show {missing}, but: {seen[:2000]}"
    assert picture.stat().st_size > 10_000


def test_every_server_says_that_it_is_well(platform):
    for name, path in (
        ("api", "/healthz"),
        ("api", "/readyz"),
        ("api", "/version"),
        ("mlflow", "/health"),
        ("prefect", "/api/health"),
        ("feast", "/"),
        ("reports", "/model.html"),
    ):
        answer = httpx.get(platform.page(name, path), timeout=20)
        assert answer.status_code == httpx.codes.OK, f"{name}{path}: {answer.status_code} {answer.text[:300]}"
    told = platform.log.read_text()
    for name in ("api", "mlflow", "prefect", "feast", "reports"):
        assert platform.page(name, "").rstrip("/") in told
    assert "did not answer" not in told


def test_prefect_lists_every_deployment_with_its_schedule(platform, prefect):
    assert f"The flows of prefect.yaml are at {platform.page('prefect', '/deployments')}" in platform.log.read_text()
    wanted = {d["name"]: d for d in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    listed = {d["name"]: d for d in prefect.post("/deployments/filter", json={}).json()}
    assert set(listed) == set(wanted)
    for name, deployment in listed.items():
        schedules = [s["schedule"] for s in deployment["schedules"] if s["active"]]
        expected = wanted[name].get("schedules", [])
        assert [s.get("cron") for s in schedules] == [s.get("cron") for s in expected], name
        assert [s.get("interval") for s in schedules] == [s.get("interval") for s in expected], name
        assert deployment["work_pool_name"] == "poplift"


@pytest.mark.parametrize(
    ("name", "artifact"), [("ingest", "ingest"), ("release", "release"), ("monitor", "monitoring")]
)
def test_a_run_started_in_prefect_is_completed_by_the_worker_and_leaves_its_artifact(platform, prefect, name, artifact):
    deployment = prefect.get(f"/deployments/name/{name}/{name}").json()
    answer = prefect.post(f"/deployments/{deployment['id']}/create_flow_run", json={})
    assert answer.is_success, f"{answer.status_code}: {answer.text}"
    run = answer.json()

    def ended():
        state = prefect.get(f"/flow_runs/{run['id']}").json()["state"]
        return state if state["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None

    state = wait_for(ended, seconds=RUN_SECONDS, what=lambda: platform.log.read_text()[-4000:])
    assert state["type"] == "COMPLETED", platform.log.read_text()[-4000:]
    only = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    assert artifact in {a["key"] for a in prefect.post("/artifacts/filter", json=only).json()}


def test_it_starts_before_anything_was_made_and_ctrl_c_ends_every_process(tmp_path):
    home = tmp_path / "var"
    home.mkdir()
    with running(home, tmp_path / "up.log") as platform:
        assert httpx.get(platform.page("api", "/healthz")).status_code == httpx.codes.OK
        not_ready = httpx.get(platform.page("api", "/readyz"))
        assert not_ready.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert "poplift release" in not_ready.text
        assert len(processes(home)) >= 6
        assert stop(platform) < STOP_SECONDS
        wait_for(lambda: None if processes(home) else True, seconds=5, what=lambda: processes(home))
        assert "Traceback" not in platform.log.read_text()


def test_a_port_that_is_taken_ends_the_platform_and_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = {**dict(zip(PORTS, free_ports(len(PORTS)), strict=True)), "api_port": port}
        settings = load_settings(home=tmp_path / "var", **ports)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "flows.cli", "up"],
                env=child_environment(settings),
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=UP_SECONDS,
                check=False,
            )
            left = processes(settings.home)
        finally:
            end(settings.home)
    assert done.returncode != 0
    assert str(port) in done.stdout + done.stderr
    assert left == []
