"""What was answered is on record: under SIGTERM with load, under SIGKILL, on a full disk, and in the lake exactly once."""

import json
import logging
import os
import signal
import time

import pytest

from poplift.decision_table import land_decisions
from poplift.lake import Lake
from tests.fault.serving_process import Api, Load, decisions_of, wait_until
from tests.served_home import served_home
from tests.unit.serving.conftest import train

pytestmark = pytest.mark.slow
log = logging.getLogger(__name__)

GRACE = 10
LATEST = 1.0  # so much may be lost when the process is killed
MARGIN = 3  # on a machine that does other things as well


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return train(tmp_path_factory.mktemp("model") / "demand")


@pytest.fixture
def settings(small_home, tmp_path, model):
    return served_home(small_home.settings, tmp_path / "var", model)


def logged(settings):
    """Ids of the whole lines of the decision log, as often as they are there."""
    ids = []
    for file in settings.decisions_dir.glob("*.jsonl"):
        *whole, _ = file.read_bytes().split(b"\n")
        ids += [json.loads(line)["decision_id"] for line in whole]
    return ids


def landed(settings):
    """Ids in the lake after landing twice, as often as they are there; the second time adds nothing."""
    lake = Lake(settings.lake_dir)
    land_decisions(settings.decisions_dir, lake)
    assert land_decisions(settings.decisions_dir, lake).added == 0
    files = [str(part) for part in lake.parts("decisions")]
    return [row[0] for row in lake.connection.execute("SELECT decision_id FROM read_parquet(?)", [files]).fetchall()]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_load_fails_no_request_that_was_taken_and_loses_no_decision(settings, workers):
    with Api(settings, "--workers", workers) as api:
        api.wait_until_ready()
        with Load(api, clients=6) as load:
            wait_until(lambda: len(load.answers) > 200)
            began = time.monotonic()
            api.process.terminate()
            lines = api.ended()
            took = time.monotonic() - began
        taken = [line for line in lines if line["event"] == "request" and "recommendations" in line["route"]]
    log.info("%d requests taken, %d answered, drained in %.1f s", len(taken), len(load.answers), took)
    assert took < GRACE
    assert {status for _, _, status, _ in load.answers} == {200}
    assert sorted(line["request_id"] for line in taken) == sorted(body["request_id"] for *_, body in load.answers)
    assert sorted(logged(settings)) == sorted(decisions_of(load.answers)) == sorted(landed(settings))


def test_sigkill_loses_at_most_the_decisions_of_the_last_second(settings):
    with Api(settings) as api:
        api.wait_until_ready()
        with Load(api, clients=6) as load:
            wait_until(lambda: len(load.answers) > 100)
            time.sleep(2 * LATEST * MARGIN)
            killed = time.monotonic()
            os.kill(api.process.pid, signal.SIGKILL)
            api.process.wait()
    kept = logged(settings)
    lost = [answer for answer in load.answers if not set(decisions_of([answer])) <= set(kept)]
    ages = [killed - (sent + took) for sent, took, *_ in lost]
    log.info("%d of %d answers lost, the oldest %.2f s old", len(lost), len(load.answers), max(ages, default=0.0))
    assert max(ages, default=0.0) < LATEST * MARGIN
    assert len(kept) == len(set(kept))
    assert sorted(landed(settings)) == sorted(kept)


@pytest.mark.parametrize("left", [0, 20_000], ids=["nothing left", "a little left"])
def test_a_full_disk_is_told_and_stops_no_answer_and_loses_no_decision(settings, left):
    with Api(settings) as api:
        api.wait_until_ready()
        with Load(api, clients=2, pause=0.02) as load:
            wait_until(lambda: len(load.answers) > 20)
            api.limit_files_to(left)
            began = time.monotonic()
            wait_until(lambda: api.metric("poplift_decision_log_errors_total") >= 2)
            assert len(load.since(began)) > 10
            assert not [file for file in settings.decisions_dir.iterdir() if not file.stat().st_size]
            api.limit_files_to(None)
            errors = api.metric("poplift_decision_log_errors_total")
            written = api.metric("poplift_decisions_written_total")
            wait_until(lambda: api.metric("poplift_decisions_written_total") > written)
        assert api.metric("poplift_decisions_dropped_total") == 0
        assert errors >= 2
        api.process.terminate()
        assert any(line["event"] == "decision_log_write_failed" for line in api.ended())
    assert load.failures == []
    assert {status for _, _, status, _ in load.answers} == {200}
    assert set(logged(settings)) == set(decisions_of(load.answers))
    assert sorted(landed(settings)) == sorted(decisions_of(load.answers))
