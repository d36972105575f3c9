"""Whoever follows the alias: a release seconds after it was moved, one builder at a time, through every outage."""

import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from flows.steps import release as release_step
from flows.steps.follow import HEARTBEAT, Follower, Pace
from flows.steps.promote import ledger, promote
from flows.steps.release import refresh_release
from poplift import registry
from poplift.registry import CHAMPION, DEMAND
from poplift.settings import child_environment, load_settings
from serving.current import load_current
from serving.pointer import read_pointer
from serving.rollback import roll_back
from tests.live_week import NOW, chain
from tests.registered_models import register, training_rows

# MLflow says this of a class of its own when its pyfunc module is first imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
SERVED_SECONDS = 30
START_SECONDS = 180  # far more than it may take, so that a hang is told from a slow machine


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A home whose version 1 was promoted and serves, beside version 2; making it takes seconds, so it is copied."""
    settings = load_settings(home=tmp_path_factory.mktemp("served"), business_time=NOW)
    chain(settings.lake_dir)
    for seed in range(2):
        register(settings, tmp_path_factory.mktemp("run"), training_rows(), seed=seed)
    promote(settings, who="ana", why="the gate passed", version="1")
    refresh_release(settings)
    return settings


@pytest.fixture
def home(tmp_path, template):
    settings = load_settings(home=tmp_path / "var", business_time=NOW)
    shutil.copytree(template.home, settings.home, symlinks=True)
    return settings


@pytest.fixture
def said():
    return []


@pytest.fixture
def follower(home, said):
    return Follower(home, said.append)


def move(settings, version):
    """Move the alias as MLflow's page does."""
    registry.client(settings).set_registered_model_alias(DEMAND, CHAMPION, version)


def served(settings):
    return load_current(settings.releases_dir).versions["model_version"]


def moves(settings):
    return [(m.from_version, m.to_version, m.who) for m in ledger(settings).moves(model=DEMAND)]


def test_an_alias_moved_in_mlflow_is_served_and_written_down_at_the_next_look(home, follower, said):
    move(home, "2")
    follower.look()
    assert served(home) == "2"
    assert moves(home) == [(None, "1", "ana"), ("1", "2", "mlflow")]
    (told,) = said
    assert told.startswith(f"version 2 is champion: release {read_pointer(home.releases_dir)['id']} is active")


def test_a_move_without_a_passing_verdict_is_served_and_said_with_its_runbook(home, follower, said):
    run = registry.client(home).get_model_version(DEMAND, "2").run_id
    registry.client(home).set_tag(run, "gate", "refuse")
    move(home, "2")
    follower.look()
    assert served(home) == "2"
    assert "Version 2 is champion without a passing verdict (the gate said 'refuse'); mlflow moved it" in said[1]
    assert "docs/runbooks/promoted-without-verdict.md" in said[1]


def test_while_nothing_moves_nothing_is_built_or_said(home, follower, said):
    before = (home.releases_dir / "current").stat().st_mtime_ns, home.ledger_path.read_bytes()
    for _ in range(3):
        follower.look()
    assert ((home.releases_dir / "current").stat().st_mtime_ns, home.ledger_path.read_bytes()) == before
    assert said == []


def test_before_there_is_a_champion_it_waits_and_one_that_is_taken_away_is_written_down(home, follower, said, tmp_path):
    empty = []
    Follower(load_settings(home=tmp_path / "empty"), empty.append).look()
    assert empty == []
    registry.client(home).delete_registered_model_alias(DEMAND, CHAMPION)
    for _ in range(2):
        follower.look()
    assert len(said) == 1
    assert "has no champion" in said[0]
    assert served(home) == "1"
    assert moves(home)[-1] == ("1", None, "mlflow")


def test_while_mlflow_is_down_it_says_so_once_and_follows_when_it_is_back(home, follower, said, free_port, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    follower.settings = load_settings(home=home.home, business_time=NOW, mlflow_url=f"http://127.0.0.1:{free_port}")
    for _ in range(3):
        follower.look()
    (trouble,) = said
    assert "the champion cannot be looked at (MlflowException: " in trouble
    follower.settings = home
    move(home, "2")
    follower.look()
    assert said[1] == "no longer: the champion cannot be looked at"
    assert served(home) == "2"


def test_a_champion_without_files_is_written_down_and_said_once_and_what_served_goes_on(home, follower, said):
    client = registry.client(home)
    foreign = client.create_run(client.get_experiment_by_name(registry.DEMAND).experiment_id).info.run_id
    move(home, client.create_model_version(DEMAND, "runs:/elsewhere", foreign).version)
    follower.pace = Pace(again=timedelta(0))
    for _ in range(3):
        follower.look()
    (trouble,) = said
    assert f"its run {foreign} has no artifacts under model/" in trouble
    assert served(home) == "1"
    assert moves(home)[-1] == ("1", "3", "mlflow")
    move(home, "2")
    follower.look()
    assert served(home) == "2"


def test_while_the_artifacts_are_away_what_served_goes_on_and_the_build_is_tried_only_now_and_then(
    home, follower, said, template
):
    artifacts = template.home / "mlflow-artifacts"
    gone = artifacts.rename(template.home / "gone")
    try:
        move(home, "2")
        follower.look()
        (trouble,) = said
        assert trouble.startswith("the champion has no release, what served goes on (")
        assert served(home) == "1"
    finally:
        gone.rename(artifacts)
    follower.look()
    assert served(home) == "1"
    follower.pace = Pace(again=timedelta(0))
    follower.look()
    assert served(home) == "2"
    assert said[-1] == "no longer: the champion has no release, what served goes on"
    assert "(the gate said 'not trusted')" in said[2]  # its verdict could not be read when the move was noticed


def test_what_was_rolled_back_stays_back_and_the_alias_follows(home, follower):
    first = read_pointer(home.releases_dir)["id"]
    move(home, "2")
    follower.look()
    roll_back(home, who="ben", why="complaints")
    assert registry.alias_version(home, name=DEMAND, alias=CHAMPION) == "2"
    follower.look()
    assert registry.alias_version(home, name=DEMAND, alias=CHAMPION) == "1"
    assert read_pointer(home.releases_dir)["id"] == first
    assert moves(home)[-1] == ("2", "1", "ben")
    follower.look()
    assert len(moves(home)) == 3


def test_a_rollback_while_the_same_release_is_built_again_is_not_undone_by_it(home, follower, monkeypatch):
    first = read_pointer(home.releases_dir)["id"]
    move(home, "2")
    follower.look()
    build, built = release_step.build_release, []

    def slowly(settings, version, folder):
        found = build(settings, version, folder)
        if not built:
            roll_back(settings, who="ben", why="complaints")
        built.append(version.version)
        return found

    monkeypatch.setattr(release_step, "build_release", slowly)
    refresh_release(home)
    assert built == ["2", "1"]
    assert read_pointer(home.releases_dir)["id"] == first
    assert registry.alias_version(home, name=DEMAND, alias=CHAMPION) == "1"
    assert moves(home)[-1] == ("2", "1", "ben")


@pytest.mark.slow
def test_two_that_follow_build_one_release_within_seconds_and_end_at_sigterm(home, tmp_path, record_property):
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    processes = []
    try:
        for log in logs:
            with log.open("w") as output:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "flows.cli", "release", "--follow"],
                        env=child_environment(home),
                        stdout=output,
                        stderr=subprocess.STDOUT,
                    )
                )
        wait_until((home.home / HEARTBEAT).exists, logs)
        move(home, "2")
        began = time.monotonic()
        wait_until(lambda: served(home) == "2", logs)
        record_property("seconds from the alias to the pointer", round(time.monotonic() - began, 1))
        assert time.monotonic() - began < SERVED_SECONDS
        time.sleep(Pace().look.total_seconds() + 1)  # the slower of the two has looked by then
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(20) for process in processes]
    assert codes == [0, 0]
    assert moves(home) == [(None, "1", "ana"), ("1", "2", "mlflow")]
    assert not [log for log in logs if "Traceback" in log.read_text()]


def wait_until(done, logs):
    deadline = time.monotonic() + START_SECONDS
    while not done():
        assert time.monotonic() < deadline, [log.read_text() for log in logs]
        time.sleep(0.1)
