"""A small loop, end to end: it spends no more than managers did, learns, and its experiment is not fooled."""

import dataclasses

import pytest

from flows.loop.conduct import LoopResult, run_loop
from flows.loop.feed import DirectFeed
from flows.loop.learning import learner
from flows.studies.closed_loop import SMALL
from poplift.assumptions import Assumptions

pytestmark = pytest.mark.science


@pytest.fixture(scope="module")
def played() -> LoopResult:
    assumptions = Assumptions()
    quick = dataclasses.replace(SMALL, outlets=80, weeks=12)
    return run_loop(
        quick, seed=5, feed=DirectFeed, learn=learner(assumptions=assumptions, seed=5), assumptions=assumptions
    )


def test_the_platform_earns_more_net_margin_than_account_managers_on_the_same_luck(played: LoopResult) -> None:
    assert played.relative > 0.05


def test_its_own_experiment_finds_that_and_holds_the_truth(played: LoopResult) -> None:
    margin = played.of("net_margin_usd")
    assert margin.experiment.above(0.0)
    assert margin.holds_truth


def test_it_spends_no_more_than_its_budget_and_draws_stay_a_small_share(played: LoopResult) -> None:
    assert played.spent_usd <= played.budget_usd
    decided = sum(week.decided for week in played.weeks)
    assert sum(week.drawn for week in played.weeks) / decided == pytest.approx(SMALL.exploration, abs=0.02)


def test_every_outlet_is_either_the_platforms_or_the_account_managers_for_good(played: LoopResult) -> None:
    assert 0 < played.platform_outlets < played.parameters.outlets
    assert {week.decided for week in played.weeks} == {played.platform_outlets * played.parameters.own_ppgs}
