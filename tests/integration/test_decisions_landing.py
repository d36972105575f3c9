"""What a running API decides reaches the lake by the command and by the flow, each decision once."""

import subprocess
import sys

import pytest

from poplift.lake import Lake
from poplift.settings import child_environment
from tests.fault.serving_process import RECOMMENDATIONS, Api, decisions_of, wait_until
from tests.served_home import served_home
from tests.unit.serving.conftest import train

FLOW = """
from prefect.artifacts import Artifact
from prefect.testing.utilities import prefect_test_harness

from flows.deployments import decisions_flow

with prefect_test_harness(server_startup_timeout=180):
    print("FLOW", decisions_flow(), decisions_flow(), Artifact.get("decisions").type)
"""


@pytest.fixture
def settings(small_home, tmp_path):
    return served_home(small_home.settings, tmp_path / "var", train(tmp_path / "demand"))


def run(settings, *command):
    """Standard output of a command that has to succeed."""
    done = subprocess.run(
        [sys.executable, *command], env=child_environment(settings), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_the_lake(settings):
    """Ids of the table, as often as they are there."""
    lake = Lake(settings.lake_dir)
    files = [str(part) for part in lake.parts("decisions")]
    return [row[0] for row in lake.connection.execute("SELECT decision_id FROM read_parquet(?)", [files]).fetchall()]


def decided(api, count):
    """Ids of that many answers' decisions, all of them on disk."""
    before = api.metric("poplift_decisions_written_total")
    answers = [(200, api.get(RECOMMENDATIONS).json()) for _ in range(count)]
    ids = decisions_of(answers)
    wait_until(lambda: api.metric("poplift_decisions_written_total") == before + len(ids), seconds=10)
    return ids


@pytest.mark.slow
def test_decisions_of_a_running_api_land_once_by_command_and_by_flow(settings):
    with Api(settings) as api:
        api.wait_until_ready()
        first = decided(api, 5)
        assert f"{len(first)} decisions landed" in run(settings, "-m", "flows.cli", "decisions")
        assert "0 decisions landed" in run(settings, "-m", "flows.cli", "decisions")
        second = decided(api, 3)
        assert f"FLOW {len(second)} 0 table" in run(settings, "-c", FLOW)
    assert sorted(in_the_lake(settings)) == sorted(first + second)
