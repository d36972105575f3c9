"""The alias moved by hand in MLflow's own page: served within half a minute, written down, and taken back as a unit."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from flows.steps.follow import HEARTBEAT, Pace
from flows.steps.promote import ledger, promote
from flows.steps.release import refresh_release
from flows.up import prefect_environment, servers
from poplift import registry
from poplift.registry import CHAMPION, DEMAND
from poplift.settings import child_environment, load_settings
from serving.pointer import read_pointer
from tests.e2e.browser import browser
from tests.e2e.test_platform import free_ports, wait_for
from tests.live_week import NOW, chain
from tests.registered_models import register, training_rows

pytestmark = [
    pytest.mark.slow,
    # MLflow says this of a class of its own when its pyfunc module is first imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

SERVED_SECONDS = 30.0
START_SECONDS = 180
STARTED = ("api", "mlflow", "follower")


@pytest.fixture
def home(tmp_path):
    """Version 1 is champion and serves; version 2 passed the gate and nobody promoted it."""
    api, mlflow = free_ports(2)
    settings = load_settings(home=tmp_path / "var", business_time=NOW, api_port=api, mlflow_port=mlflow)
    chain(settings.lake_dir)
    for seed in range(2):
        (folder := tmp_path / f"run-{seed}").mkdir()
        register(settings, folder, training_rows(), seed=seed)
    promote(settings, who="ana", why="the gate passed", version="1")
    refresh_release(settings)
    return settings


@pytest.fixture
def platform(home, tmp_path):
    """API, MLflow and whoever follows the alias, started as `poplift up` starts them; gives what they print."""
    log = tmp_path / "log"
    environment = child_environment(home, POPLIFT_API_HOST="127.0.0.1", **prefect_environment(home))
    commands = [server.command for server in servers(home) if server.name in STARTED]
    assert len(commands) == len(STARTED)
    with log.open("w") as output:
        running = [
            subprocess.Popen(
                command, env=environment, cwd=home.home, stdout=output, stderr=output, start_new_session=True
            )
            for command in commands
        ]
    try:
        for address in (f"{api(home)}/healthz", f"http://127.0.0.1:{home.mlflow_port}/health"):
            wait_for(lambda at=address: httpx.get(at).is_success or None, seconds=START_SECONDS, what=log.read_text)
        wait_for(lambda: (home.home / HEARTBEAT).exists() or None, seconds=START_SECONDS, what=log.read_text)
        yield log
    finally:
        for process in running:
            process.terminate()
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def api(home):
    return f"http://127.0.0.1:{home.api_port}"


def serving(home):
    """Model version and release that answer."""
    told = httpx.get(f"{api(home)}/version", timeout=10).json()
    return told["release_versions"]["model_version"], told["release_id"]


def seconds_until_served(home, version, *, since, log):
    wait_for(lambda: serving(home)[0] == version or None, seconds=2 * SERVED_SECONDS, what=log.read_text)
    return time.monotonic() - since


def moves(home):
    return [(move.from_version, move.to_version, move.who) for move in ledger(home).moves(model=DEMAND)]


def put_champion_on(home, version, folder):
    """What a person does in MLflow's page; when it was saved."""
    with browser(folder) as page:
        page.open(f"http://127.0.0.1:{home.mlflow_port}/#/models/{DEMAND}/versions/{version}")
        page.click("Add aliases")
        page.sees(f"alias for model version {version}")
        page.click("Enter aliases (champion, challenger, etc)")
        page.type(CHAMPION)
        page.sees('The "champion" alias is also being used on version 1.')
        page.click("Save aliases")
        saved = time.monotonic()
        page.wait(lambda: "Save aliases" not in page.text(), what="the end of the dialogue")
        page.sees(CHAMPION)
    return saved


def test_an_alias_moved_by_hand_is_served_written_down_and_rolled_back_as_one_unit(
    home, platform, tmp_path, record_property
):
    before = serving(home)
    assert before == ("1", read_pointer(home.releases_dir)["id"])

    saved = put_champion_on(home, "2", tmp_path / "browser")
    seconds = seconds_until_served(home, "2", since=saved, log=platform)
    record_property("seconds from the click to the answer", round(seconds, 1))
    assert seconds <= SERVED_SECONDS
    assert moves(home) == [(None, "1", "ana"), ("1", "2", "mlflow")]
    assert "version 2 is champion: release" in platform.read_text()

    began = time.monotonic()
    rolled = subprocess.run(
        [sys.executable, "-m", "flows.cli", "rollback", "--who", "ben", "--why", "drill"],
        env=child_environment(home),
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert rolled.returncode == 0, rolled.stderr
    seconds_until_served(home, "1", since=began, log=platform)
    time.sleep(2 * Pace().look.total_seconds())  # whoever follows has looked again and left it so
    assert serving(home) == before
    assert registry.alias_version(home, name=DEMAND, alias=CHAMPION) == "1"
    assert moves(home)[2:] == [("2", "1", "ben")]
    assert "Traceback" not in platform.read_text()
