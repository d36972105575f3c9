"""S6 in a few runs: close to the truth where the log speaks, refused where it does not."""

import pytest

from flows.studies.off_policy import run

pytestmark = pytest.mark.science


@pytest.fixture(scope="module")
def study():
    return run(seed=11, runs=2)


def test_the_value_of_policies_near_the_logged_one_is_within_three_percent(study):
    errors = {f.name: f.value for f in study.figures if "mean |error| of DR" in f.name}
    assert set(errors) == {
        f"{p}: mean |error| of DR" for p in ("none", "random at budget", "last plan", "volume-ranked")
    }
    assert all(error < 0.03 for name, error in errors.items() if name.startswith(("last", "volume"))), errors
    assert all(error < 0.06 for error in errors.values()), errors


def test_the_intervals_of_two_markets_hold_the_truth(study):
    held = [f.value for f in study.figures if "holds the truth" in f.name]
    assert sum(held) / len(held) > 0.8


def test_a_policy_that_was_hardly_ever_run_is_refused_every_time(study):
    (refused,) = [f for f in study.figures if f.name.startswith("all: refused")]
    assert refused.value == 1
    assert refused.is_met
