"""The truth is what playing the market again would show, and nothing observable carries it."""

import numpy as np
import pytest

from poplift.activation import CANDIDATES
from poplift.sources.market import events, observed
from poplift.sources.market.environment import Market, simulate
from poplift.sources.market.parameters import MarketParameters
from poplift.sources.market.truth import truth_of

# the retailer's coupons and the competitors answer to what sold; without them a changed cell changes nothing else
LONELY = MarketParameters(outlets=10, own_ppgs=3, competing_ppgs=1, weeks=6, competition=0.0, coupon=0.0)


def expected(plans: list[np.ndarray]) -> np.ndarray:
    market = Market(LONELY, 11)
    for plan in plans:
        market.act(plan)
        market.step()
    return truth_of(market).expected


@pytest.mark.parametrize("candidate", range(1, len(CANDIDATES)))
def test_net_gain_is_what_one_changed_cell_adds_to_the_outlet_over_all_weeks(candidate: int) -> None:
    random = np.random.default_rng(4)
    plans = [random.integers(len(CANDIDATES), size=(10, 3)) for _ in range(6)]
    market = Market(LONELY, 11)
    for plan in plans:
        market.act(plan)
        market.step()
    outlet, ppg, week = 4, 1, 2
    with_it, without = ([plan.copy() for plan in plans] for _ in range(2))
    with_it[week][outlet, ppg], without[week][outlet, ppg] = candidate, 0
    added = (expected(with_it) - expected(without)).sum()
    assert truth_of(market).net_gain[outlet, ppg, week, candidate] == pytest.approx(added, rel=1e-9)


def test_realised_demand_scatters_around_what_was_expected() -> None:
    truth = truth_of(simulate(MarketParameters(outlets=200, weeks=30), seed=8))
    assert truth.latent.sum() / truth.expected.sum() == pytest.approx(1, abs=0.01)


def test_the_candidate_none_gains_nothing_anywhere() -> None:
    truth = truth_of(simulate(MarketParameters(outlets=12, weeks=5), seed=8))
    assert np.abs(truth.net_gain[..., 0]).max() == 0


def test_promoted_against_not_promoted_is_several_times_the_true_lift() -> None:
    market = simulate(MarketParameters(), seed=1)
    rows, truth = observed.panel(market), truth_of(market)
    naive = np.log(
        rows[rows["display"] == 1]["transactions"].mean() / rows[rows["display"] == 0]["transactions"].mean()
    )
    true = np.log(truth.mean[..., 1].sum() / truth.mean[..., 0].sum())
    assert true == pytest.approx(0.36, abs=0.08)
    assert naive > 2 * true


def test_what_the_platform_sees_holds_no_column_of_the_truth() -> None:
    market = simulate(MarketParameters(outlets=8, weeks=3), seed=1)
    frames = [observed.panel(market), observed.outlets(market), observed.ppgs(market), observed.calendar(market)]
    frames += events.tables(market, shopper_key="k").values()
    seen = {column for frame in frames for column in frame.columns}
    assert not {
        c
        for c in seen
        if any(word in c for word in ("latent", "mean", "gain", "lift", "hidden", "expected", "elasticity"))
    }
    assert all(frame.attrs == {} for frame in frames)
