"""The rollback drill: under load from several clients the former release is back everywhere, and no request fails."""

import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import httpx
import pytest

from flows.steps.follow import Follower
from flows.steps.promote import ledger, promote
from flows.steps.release import refresh_release
from poplift import registry
from poplift.registry import CHAMPION, DEMAND
from poplift.settings import child_environment, load_settings
from serving.pointer import read_pointer
from tests.integration.test_workers import pids, ready, wait_until
from tests.registered_models import register, training_rows
from tests.served_home import KNOWN

pytestmark = [
    pytest.mark.slow,
    # MLflow says this of a class of its own when its pyfunc module is first imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

CLIENTS = 4
MOST_SECONDS = 5.0


@dataclass
class Load:
    """What clients saw: when an answer began, its status, and the release that gave it."""

    address: str
    seen: list[tuple[float, int, str]] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self):
        """Ask both routes in turn, a connection each time, so that every worker gets its share."""
        while not self.done.is_set():
            for ask in (self.demand, self.recommend):
                began = time.monotonic()
                try:
                    answer = ask()
                    self.seen.append((began, answer.status_code, answer.json().get("release", {}).get("id", "none")))
                except httpx.HTTPError as error:
                    self.seen.append((began, 0, type(error).__name__))

    def demand(self):
        return httpx.post(f"{self.address}/v1/demand", json={"rows": [KNOWN]}, timeout=10)

    def recommend(self):
        return httpx.get(f"{self.address}/v1/recommendations/{KNOWN['outlet_id']}", params={"limit": 3}, timeout=10)


@pytest.fixture
def home(small_home, tmp_path):
    """Version 1 served and then version 2, both in a real registry, over the online store of the small home."""
    online = small_home.settings
    settings = load_settings(home=tmp_path / "var", database_prefix=online.database_prefix)
    settings.home.mkdir()
    for name in ("online.db", "read-plans", "lake"):
        (settings.home / name).symlink_to(online.home / name)
    for version, seed in (("1", 0), ("2", 1)):
        folder = tmp_path / f"run-{version}"
        folder.mkdir()
        register(settings, folder, training_rows(), seed=seed)
        promote(settings, who="ana", why="the gate passed", version=version)
        refresh_release(settings)
    return settings


def by_command(address, environment):
    """`poplift rollback`, from the start of its process."""
    command = [sys.executable, "-m", "flows.cli", "rollback", "--who", "ben", "--why", "drill"]
    rolled = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert rolled.returncode == 0, rolled.stderr
    assert "its model is champion" in rolled.stdout


def by_call(address, environment):
    """One call of the API; whoever follows the alias looks after it."""
    answer = httpx.post(f"{address}/v1/releases/rollback", json={"why": "drill"}, timeout=10)
    assert answer.status_code == httpx.codes.OK, answer.text


ASKED_BY = {by_command: "ben", by_call: "API"}


@pytest.mark.parametrize("roll_back", [by_command, by_call])
def test_a_rollback_under_load_is_served_by_every_worker_in_seconds_and_fails_no_request(
    home, roll_back, tmp_path, free_port, record_property
):
    command = [sys.executable, "-m", "flows.cli"]
    environment = child_environment(home, POPLIFT_API_PORT=str(free_port))
    address = f"http://127.0.0.1:{free_port}"
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([*command, "serve", "--workers", "2"], env=environment, stdout=log, stderr=log)
    load = Load(address)
    clients = [threading.Thread(target=load.run) for _ in range(CLIENTS)]
    try:
        wait_until(lambda: len(pids(server)) == 2 and ready(address), (tmp_path / "log").read_text)
        newer = httpx.get(f"{address}/version", timeout=5).json()["release_id"]
        for client in clients:
            client.start()
        wait_until(lambda: len(load.seen) > 20 * CLIENTS)
        before = (home.releases_dir / "current").stat().st_mtime_ns
        moved = []

        def watch():
            wait_until(lambda: (home.releases_dir / "current").stat().st_mtime_ns != before)
            moved.append(time.monotonic())

        watching = threading.Thread(target=watch)
        watching.start()
        asked_at = time.monotonic()
        roll_back(address, environment)
        watching.join()
        time.sleep(MOST_SECONDS)
        workers = pids(server)
    finally:
        load.done.set()
        for client in clients:
            if client.ident is not None:
                client.join()
        server.terminate()
        server.wait(20)
    failed = [one for one in load.seen if one[1] != httpx.codes.OK]
    assert failed == []
    assert len(workers) == 2
    last_newer = max(began for began, _, release in load.seen if release == newer)
    former = {release for began, _, release in load.seen if began > last_newer}
    assert len(former) == 1
    assert newer not in former
    seconds = last_newer - moved[0]
    record_property("requests", len(load.seen))
    record_property("seconds", round(seconds, 2))
    record_property("seconds from the command", round(last_newer - asked_at, 2))
    assert seconds <= MOST_SECONDS
    Follower(home).look()
    assert registry.by_alias(home, name=DEMAND, alias=CHAMPION).version == "1"
    assert [(m.to_version, m.who) for m in ledger(home).moves(model=DEMAND)][-1] == ("1", ASKED_BY[roll_back])
    assert read_pointer(home.releases_dir)["id"] in former
