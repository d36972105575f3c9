"""S7 in a few runs: quiet where nothing is, and loud where the arms are broken."""

import pytest

from flows.studies.experiments import run

pytestmark = pytest.mark.science
RUNS = 4


@pytest.fixture(scope="module")
def figures():
    return {figure.name: figure for figure in run(seed=21, runs=RUNS).figures}


@pytest.mark.parametrize("where", ["real panel", "market"])
def test_looking_every_week_at_nothing_raises_no_alarm(figures, where):
    figure = figures[f"{where}: A/A false positives, a look every week"]
    assert figure.value <= 1 / RUNS
    assert figure.is_met


@pytest.mark.parametrize("where", ["real panel", "market"])
def test_what_was_known_before_takes_seven_tenths_of_the_variance_away(figures, where):
    assert figures[f"{where}: variance removed by the adjustment"].value >= 0.7


@pytest.mark.parametrize("where", ["real panel", "market"])
def test_effects_of_the_promised_size_are_found_in_most_runs(figures, where):
    assert figures[f"{where}: promised effect found, by the last look"].value >= 0.5


def test_lost_outlets_of_one_arm_are_noticed_every_time_and_those_of_both_never(figures):
    assert figures["market: lost outlets of one arm noticed"].value == 1
    assert figures["market: false alarms of that check"].value == 0


def test_the_true_effect_lies_in_the_last_interval(figures):
    assert figures["market: last interval holds the true effect"].value >= 1 - 1 / RUNS
