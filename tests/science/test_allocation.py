"""S4 in one market: a plan from estimated effects gets most of what the oracle's gets, and far more than by volume."""

from dataclasses import replace

import pytest

from flows.studies.allocation import MARKET, plan_values
from poplift.sources.market.environment import simulate

pytestmark = pytest.mark.science


@pytest.fixture(scope="module")
def values():
    return plan_values(simulate(replace(MARKET, outlets=60), seed=41), seed=41)


def test_a_plan_from_estimated_effects_is_worth_most_of_the_best_one(values):
    assert 0.85 * values["oracle"] < values["estimated"] <= 1.001 * values["oracle"]


def test_it_adds_far_more_than_everything_where_most_is_sold_and_than_chance(values):
    assert values["estimated"] > 1.4 * values["volume"]
    assert values["estimated"] > 1.4 * values["random"]
