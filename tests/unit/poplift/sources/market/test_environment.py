"""The simulated market: one seed, one market; two policies on a seed meet the same luck."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poplift.activation import CANDIDATES
from poplift.sources.market.environment import AS_USUAL, Market, simulate
from poplift.sources.market.observed import panel
from poplift.sources.market.parameters import Fault, MarketParameters

SMALL = MarketParameters(outlets=24, own_ppgs=3, competing_ppgs=2, weeks=8)


def played(parameters: MarketParameters, *plans: np.ndarray, seed: int = 3) -> Market:
    market = Market(parameters, seed)
    for plan in plans:
        market.act(plan)
        market.step()
    return market


def everywhere(candidate: int, parameters: MarketParameters = SMALL) -> np.ndarray:
    return np.full((parameters.outlets, parameters.own_ppgs), candidate)


def test_the_same_seed_plays_the_same_market() -> None:
    assert panel(simulate(SMALL, seed=5)).equals(panel(simulate(SMALL, seed=5)))
    assert not panel(simulate(SMALL, seed=5)).equals(panel(simulate(SMALL, seed=6)))


@given(st.integers(0, 50), st.integers(1, len(CANDIDATES) - 1))
@settings(max_examples=20, deadline=None)
def test_an_activation_everywhere_never_sells_less_where_it_runs_than_none_on_the_same_luck(
    seed: int, which: int
) -> None:
    alone = MarketParameters(outlets=12, own_ppgs=2, competing_ppgs=1, weeks=1, switching=0.0)
    none, acted = (played(alone, everywhere(k, alone), seed=seed).history[0] for k in (0, which))
    assert (acted.latent[:, :2] >= none.latent[:, :2]).all()


def test_two_policies_on_a_seed_have_the_same_noise_until_they_act() -> None:
    quiet, loud = played(SMALL, everywhere(0)), played(SMALL, everywhere(7))
    assert np.array_equal(quiet.history[0].base, loud.history[0].base)
    assert quiet.history[0].transactions[:, :3].sum() < loud.history[0].transactions[:, :3].sum()


def test_a_plan_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a plan has the shape \(24, 3\), this one \(24, 2\)"):
        Market(SMALL, 1).act(np.zeros((24, 2), dtype=int))


def test_a_cell_that_a_plan_leaves_alone_runs_as_account_managers_want_it() -> None:
    quiet = MarketParameters(outlets=24, own_ppgs=3, competing_ppgs=2, weeks=1, exploration=0.0)
    usual, mixed = Market(quiet, 1), Market(quiet, 1)
    plan = np.full((24, 3), AS_USUAL)
    plan[5] = 7
    mixed.act(plan)
    as_usual, planned = usual.step().plan, mixed.step().plan
    others = np.arange(24) != 5
    assert np.array_equal(as_usual.display[others], planned.display[others])
    assert np.array_equal(as_usual.price_cut[others], planned.price_cut[others])
    assert (planned.display[5, :3] == 1).all()
    assert (planned.price_cut[5, :3] == 0.2).all()


def test_logged_propensities_come_back_in_the_panel() -> None:
    market = Market(SMALL, 1)
    propensity = np.full((24, 3), np.nan)
    propensity[0, 0] = 0.25
    market.act(everywhere(2), propensity=propensity)
    market.step()
    row = panel(market).iloc[0]
    assert (row["activation"], row["explored"], row["propensity"]) == ("mailer", True, 0.25)


def test_sales_end_with_the_stock_and_the_flag_is_imperfect() -> None:
    weeks = simulate(MarketParameters(weeks=20), seed=1).history
    empty = np.stack([week.transactions < week.latent for week in weeks])
    flagged = np.stack([~week.in_stock for week in weeks])
    assert 0.12 < empty.mean() < 0.28
    assert flagged[empty].mean() == pytest.approx(0.9, abs=0.02)
    assert flagged[~empty].mean() == pytest.approx(0.03, abs=0.01)
    assert all((week.transactions <= week.latent).all() for week in weeks)


def test_without_censoring_everything_wanted_is_sold() -> None:
    weeks = simulate(MarketParameters(outlets=24, weeks=6, is_censored=False), seed=1).history
    assert all(np.array_equal(week.transactions, week.latent) for week in weeks)


def test_the_share_drawn_at_random_is_the_one_asked_for() -> None:
    rows = panel(simulate(MarketParameters(outlets=200, weeks=10, exploration=0.1), seed=2))
    assert rows["explored"].mean() == pytest.approx(0.1, abs=0.015)
    assert rows["propensity"].notna().equals(rows["explored"])
    assert set(rows.loc[rows["explored"], "activation"]) == {candidate.name for candidate in CANDIDATES}


@pytest.mark.parametrize(
    ("fault", "moved"),
    [
        (Fault("display_effect", 4, 0.5), "lifted"),
        (Fault("price_sensitivity", 4, 1.3), "lifted"),
        (Fault("season_shift", 4, 13), "base"),
        (Fault("display_not_executed", 4, 0.5), "lifted"),
        (Fault("spill_over", 4, 0.2), "lost"),
        (Fault("competitor_reacts", 4, 1.0), "lifted"),
    ],
)
def test_a_fault_changes_the_market_from_its_onset_on(fault: Fault, moved: str) -> None:
    busy = np.tile(np.arange(len(CANDIDATES)), 24 * 3)[: 24 * 3].reshape(24, 3)
    sound, faulty = (
        played(MarketParameters(outlets=24, own_ppgs=3, competing_ppgs=2, weeks=6, faults=faults), *[busy] * 6)
        for faults in ((), (fault,))
    )
    same = [
        np.array_equal(getattr(a, moved), getattr(b, moved)) for a, b in zip(sound.history, faulty.history, strict=True)
    ]
    assert same[:3] == [True] * 3
    assert not any(same[3:])


def test_new_outlets_have_no_rows_before_they_open() -> None:
    rows = panel(simulate(MarketParameters(outlets=20, weeks=6, faults=(Fault("new_outlets", 4, 0.25),)), seed=1))
    assert rows.groupby("week")["outlet_id"].nunique().tolist() == [15, 15, 15, 20, 20, 20]


def test_cases_are_reported_as_units_by_one_banner_from_the_onset_on() -> None:
    sound, faulty = (
        panel(simulate(MarketParameters(outlets=20, weeks=6, faults=faults), seed=1))
        for faults in ((), (Fault("cases_for_units", 4, 12),))
    )
    smaller = faulty["units"] < sound["units"]
    assert not smaller[faulty["week"] < 4].any()
    assert set(faulty.loc[smaller, "outlet_id"]) == {f"o{number:05d}" for number in range(0, 20, 4)}


@pytest.mark.parametrize("wrong", [{"outlets": 1}, {"own_ppgs": 1}, {"weeks": 0}, {"exploration": 1.5}])
def test_a_market_that_cannot_be_played_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"a market needs|it is a share"):
        MarketParameters(**wrong)


def test_account_managers_go_on_drawing_in_the_cells_that_a_plan_leaves_alone() -> None:
    usual, mixed = (
        Market(MarketParameters(outlets=60, own_ppgs=3, competing_ppgs=2, weeks=1, exploration=0.3), 1) for _ in "ab"
    )
    plan = np.full((60, 3), AS_USUAL)
    plan[:20] = 1
    mixed.act(plan)
    as_usual, planned = usual.step().plan, mixed.step().plan
    assert np.array_equal(as_usual.explored[20:], planned.explored[20:])
    assert np.array_equal(as_usual.propensity[20:], planned.propensity[20:], equal_nan=True)
    assert planned.explored[20:].any()
    assert not planned.explored[:20, :3].any()
