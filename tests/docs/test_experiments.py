"""What the page on experiments states of shares, weeks and thresholds is what the code does."""

from pathlib import Path

import pytest

from monitoring.experiments import execution, outcomes, sample_ratio, verdict
from poplift import assignment, launches
from poplift.contracts.decisions import ARMS, DECISION_CONTRACTS, VERDICTS, WHAT_BECAME
from poplift.launches import Launch
from serving.exploration import HELD_OUT
from serving.policy import Policy
from training.off_policy import estimators, platform_log, reward_model


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    """The page on one line, so that line breaks do not matter."""
    return " ".join((root / "docs/concepts/experiments.md").read_text().split())


def test_shares_and_arms_are_those_of_the_assignment(page: str) -> None:
    assert f"| `holdout` | {assignment.HOLDOUT_SHARE:.0%} of the outlets".replace("%", " %") in page
    assert f"| `explored` | {assignment.EXPLORATION_SHARE:.0%} of the other".replace("%", " %") in page
    assert [arm for arm in ARMS if f"`{arm}`" not in page] == []
    fields = Policy.model_fields
    assert (fields["holdout_share"].default, fields["exploration_share"].default) == (0.05, 0.05)
    assert "holdout" in HELD_OUT


def test_weeks_and_thresholds_are_those_of_the_readout(page: str) -> None:
    assert f"last {outcomes.PRE_WEEKS} and last {outcomes.RECENT_WEEKS} weeks before" in page
    assert (launches.WEEKS_AFTER, "four weeks afterwards" in page) == (4, True)
    assert f"Below p = {sample_ratio.STOP_BELOW}" in page
    assert f"above {execution.CONTAMINATED_ABOVE * 100:.0f} % of their weeks" in page
    assert f"below {estimators.LEAST_EFFECTIVE_SHARE * 100:.0f} % of the log" in page
    assert f"or below {platform_log.LEAST_EFFECTIVE} decisions" in page
    assert f"wants {platform_log.LEAST_OUTLETS} outlets and {reward_model.FOLDS} weeks" in page


def test_every_outcome_table_and_verdict_is_named(page: str) -> None:
    assert [word for word in WHAT_BECAME if f"`{word}`" not in page] == []
    assert [c.table for c in DECISION_CONTRACTS if f"| `{c.table}` |" not in page] == []
    assert [word for word in VERDICTS if f"*{verdict.WORDS[word]}*" not in page] == []  # type: ignore[index]


def test_the_usual_price_of_looking_every_week_is_told(page: str) -> None:
    from poplift.confidence import sequence_multiplier

    assert "half as much again" in page
    assert 1.4 < sequence_multiplier(12, planned=12) / 1.96 < 1.6
    assert Launch.model_fields["looks"].default == "weekly"
