"""What the demo answered can be followed back without a gap, and its ledger agrees with MLflow, in both profiles."""

import json
import subprocess
import sys

import pytest

from poplift.settings import child_environment

pytestmark = pytest.mark.slow


def told(settings, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=child_environment(settings),
        cwd=settings.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_an_answer_of_the_demo_is_traced_to_release_model_promotion_features_and_lake(profile):
    settings = profile.settings
    (*_, line) = max(settings.decisions_dir.glob("*.jsonl")).read_text().splitlines()
    decision = json.loads(line)
    traced = told(settings, "trace", decision["decision_id"], "--json")
    assert traced["gaps"] == []
    assert traced["decision"] == decision
    assert traced["release"]["standing"] == "serves now"
    assert traced["model"]["verdict"] == "pass"
    assert [move["to_version"] for move in traced["moves"]] == [decision["model_version"]]
    assert all(view["file"] and not view["differing"] for view in traced["views"])
    assert {rows["table"] for rows in traced["lake"]} == {"pos_lines", "promotions", "price_calendar"}


def test_the_ledger_of_the_demo_holds_and_mlflow_says_the_same(profile):
    state = told(profile.settings, "ledger", "--verify", "--json")
    assert (state["reasons"], state["not_asked"]) == ([], None)
    assert {e["alias"] for e in state["entries"]} == {"champion", "challenger"}
