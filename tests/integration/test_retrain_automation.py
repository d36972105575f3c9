"""A breach that monitoring finds starts a retraining: with a real Prefect server, its automation and its events."""

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from flows.up import prefect_environment
from flows.worker import POOL
from poplift.settings import child_environment, load_settings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120
EMIT = """
from flows.deployments import tell_breach
from monitoring.verdict import Figure, Verdict
figures = [Figure("inputs_moved_far", "", 3.0, "", "", STATUS), Figure("oldest_view_days", "", 30.0, "", "", "breach")]
tell_breach(Verdict("breach", ("inputs moved",), tuple(figures)))
from prefect.events.worker import EventsWorker
EventsWorker.drain_all()
"""

UNANSWERED = """
from prefect import flow
from prefect.events.worker import EventsWorker
from flows.deployments import tell_unanswered
from flows.steps.ledger import LedgerState
@flow
def look():
    tell_unanswered(LedgerState((), (), (), None))
    tell_unanswered(LedgerState((), (), ("Version 4 is champion without a passing verdict",), None))
look()
EventsWorker.drain_all()
"""


def wait_for(found, what):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            if (result := found()) is not None:
                return result
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    raise AssertionError(f"not within {SECONDS} s: {what}")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A Prefect server of this test alone, with the pool that flows are deployed to."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect")
    settings = load_settings(home=home, prefect_port=port)
    variables = child_environment(settings, **prefect_environment(settings))
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            env=variables,
            cwd=home,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        api = variables["PREFECT_API_URL"]
        wait_for(lambda: True if httpx.get(f"{api}/health", timeout=2).is_success else None, "the server answers")
        prefect(variables, "work-pool", "create", POOL, "--type", "process")
        yield variables
    finally:
        server.terminate()
        server.wait(timeout=30)


def prefect(environment, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def api(environment):
    """A client of the server on which `retrain` was deployed twice, as two starts of the platform do it."""
    for _ in range(2):
        prefect(environment, "--no-prompt", "deploy", "--name", "retrain")
    with httpx.Client(base_url=environment["PREFECT_API_URL"], timeout=20) as client:
        yield client


def runs(api):
    found = api.post("/flow_runs/filter", json={"flows": {"name": {"any_": ["retrain"]}}}).json()
    return [run for run in found if not run["auto_scheduled"]]


def run_program(environment, program):
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def emit(environment, status):
    run_program(environment, EMIT.replace("STATUS", repr(status)))


def test_deploying_twice_leaves_one_automation_that_waits_for_the_event(api):
    automations = api.post("/automations/filter", json={}).json()
    (ours,) = [a for a in automations if a["name"] == "a breach starts a retraining"]
    assert ours["enabled"]
    assert ours["trigger"]["expect"] == ["poplift.monitoring.breach"]
    assert [action["type"] for action in ours["actions"]] == ["run-deployment"]


def test_a_breach_starts_the_deployment_once_and_says_why(environment, api):
    emit(environment, "breach")
    (run,) = wait_for(lambda: runs(api) or None, "a run of retrain")
    assert run["parameters"] == {"cause": "monitoring: drift broken"}
    emit(environment, "warn")
    time.sleep(3)
    assert len(runs(api)) == 1


def test_a_champion_nobody_answers_for_is_an_event_that_a_notification_can_hang_on(environment, api):
    run_program(environment, UNANSWERED)
    asked = {"filter": {"event": {"name": ["poplift.ledger.unanswered"]}}}
    (event,) = wait_for(lambda: api.post("/events/filter", json=asked).json()["events"] or None, "the event")
    assert event["resource"]["prefect.resource.id"] == "poplift.model.demand"
    assert "docs/runbooks/promoted-without-verdict.md" in event["payload"]["reasons"][0]
