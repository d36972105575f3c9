"""S4: how much of the best possible plan an estimated one gets, at a fifth of what running everything would cost."""

import numpy as np
import pandas as pd

from flows.loop.decisions import NAMES, Outlets, plan_indices
from flows.loop.learning import learner
from flows.steps.progress import Progress, silent
from flows.studies.each_seed import each_seed
from flows.studies.study import Study, at_least, mean_figure
from poplift.activation import CANDIDATES
from poplift.assumptions import Assumptions
from poplift.margin import give_away_usd, placement_costs_usd
from poplift.sources.market import observed
from poplift.sources.market.environment import Market, simulate
from poplift.sources.market.parameters import MarketParameters
from poplift.sources.market.truth import Truth, truth_of

BUDGET = 0.2  # of what the dearest activation would cost everywhere, what its price cut gives away included
MARKET = MarketParameters(outlets=200, weeks=78)
ORACLE_SHARE, OVER_VOLUME = 0.9, 0.4


def run(*, seed: int, runs: int, progress: Progress = silent) -> Study:
    """Plans from estimated effects, from the truth, by volume and at random, all valued by the truth."""
    plans = list(each_seed(play, seed=seed, runs=runs, progress=progress))
    of_oracle = [one["estimated"] / one["oracle"] for one in plans]
    over_volume = [one["estimated"] / max(one["volume"], 1e-9) - 1 for one in plans]
    volume_share, random_share = ([one[name] / one["oracle"] for one in plans] for name in ("volume", "random"))
    share = mean_figure("value of the estimated plan, of the oracle's", of_oracle, unit="%")
    more = mean_figure("incremental margin over a plan by volume", over_volume, unit="%")
    return Study(
        "S4",
        "Allocation",
        "How much of the best possible plan does a plan from estimated effects get, at a 20 % budget?",
        (
            at_least(share, ORACLE_SHARE, said=f"{ORACLE_SHARE:.0%}"),
            at_least(more, OVER_VOLUME, said=f"+{OVER_VOLUME:.0%}"),
            mean_figure("value of the plan by volume, of the oracle's", volume_share, unit="%"),
            mean_figure("value of a random plan, of the oracle's", random_share, unit="%"),
        ),
        f"Simulated: {MARKET.outlets} outlets, {MARKET.weeks} weeks under account managers with "
        f"{MARKET.exploration:.0%} exploration. Value is true incremental margin of the own portfolio less the "
        "activation's cost, in an average week.",
    )


def play(seed: int) -> dict[str, float]:
    """The values of the four plans on the market of a seed."""
    return plan_values(simulate(MARKET, seed=seed), seed=seed)


def plan_values(market: Market, *, seed: int) -> dict[str, float]:
    """True net value (USD a week) of four plans for the same budget; the planner is the same for the first two."""
    assumptions = Assumptions()
    frame = learner(assumptions=assumptions, seed=seed)(
        observed.panel(market), observed.outlets(market), observed.calendar(market)
    )
    known = truth_of(market)
    truth, cost = true_margin(market, known, assumptions), true_cost(market, known, assumptions)
    budget = BUDGET * float(cost.max(axis=2).sum())
    believed = _as_table(market, truth, cost, assumptions)
    chosen = {
        "estimated": _planned(frame, budget, assumptions, market),
        "oracle": _planned(believed, budget, assumptions, market),
        "volume": _by_volume(market, cost, budget),
        "random": _at_random(cost, budget, seed),
    }
    outlet, ppg = np.indices(truth.shape[:2])
    paid = placement_costs_usd(CANDIDATES, assumptions=assumptions)
    return {name: float((truth[outlet, ppg, k] - paid[k]).sum()) for name, k in chosen.items()}


def true_cost(market: Market, truth: Truth, assumptions: Assumptions) -> np.ndarray:
    """What a budget pays, (outlets, own ppgs, candidates) in USD of an average week: activation and give-away."""
    price = market.world.base_price[: market.parameters.own_ppgs, None]
    units = np.array([truth.units_per_transaction(k) for k in range(len(CANDIDATES))])
    depth = np.array([c.price_cut for c in CANDIDATES])
    given = give_away_usd(truth.mean.mean(axis=2) * units, base_price=price, price_cut=depth)
    cost: np.ndarray = placement_costs_usd(CANDIDATES, assumptions=assumptions) + given
    return cost


def true_margin(market: Market, truth: Truth, assumptions: Assumptions) -> np.ndarray:
    """Incremental margin (outlets, own ppgs, candidates) in USD before activation cost, of an average week.

    A cut is also given to those who would have bought without it; what the portfolio loses, it loses at full margin.
    """
    price = market.world.base_price[: market.parameters.own_ppgs, None]
    units = np.array([truth.units_per_transaction(k) for k in range(len(CANDIDATES))])
    depth = np.array([c.price_cut for c in CANDIDATES])
    mean, net = truth.mean.mean(axis=2), truth.net_gain.mean(axis=2)
    own = mean * units * price * (assumptions.unit_margin - depth)
    gross = mean - mean[..., :1]
    lost = (net - gross) * units[0] * price * assumptions.unit_margin
    margin: np.ndarray = own - own[..., :1] + lost
    return margin


def _as_table(market: Market, margin: np.ndarray, cost: np.ndarray, assumptions: Assumptions) -> pd.DataFrame:
    outlets, ppgs, count = margin.shape
    rows = pd.DataFrame(
        {
            "outlet_id": np.repeat(observed.outlet_ids(market), ppgs * count),
            "ppg_id": np.tile(np.repeat(observed.ppg_ids(market), count), outlets),
            "activation": np.tile(np.array(NAMES, dtype=object), outlets * ppgs),
            "give_away_usd": (cost - placement_costs_usd(CANDIDATES, assumptions=assumptions)).ravel(),
        }
    )
    for measure in ("transactions", "units", "margin_usd"):
        for end in ("", "_low", "_high"):
            rows[f"incremental_{measure}{end}"] = margin.ravel()
    return rows.assign(overlap=1.0, evidence="sufficient")


def _planned(frame: pd.DataFrame, budget: float, assumptions: Assumptions, market: Market) -> np.ndarray:
    everywhere = np.ones(market.parameters.outlets, dtype=bool)
    outlets = Outlets(observed.outlet_ids(market), observed.ppg_ids(market), everywhere)
    return plan_indices(frame, outlets, budget_usd=budget, assumptions=assumptions)


def _by_volume(market: Market, cost: np.ndarray, budget: float) -> np.ndarray:
    """What is done by hand: everything at once where most is sold, until the money is gone."""
    sold = observed.panel(market).groupby(["outlet_id", "ppg_id"])["transactions"].sum().to_numpy()
    order = np.argsort(-sold, kind="stable")
    return _bought(order, np.full(len(sold), len(CANDIDATES) - 1), cost, budget)


def _at_random(cost: np.ndarray, budget: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    cells = cost.shape[0] * cost.shape[1]
    return _bought(random.permutation(cells), random.integers(1, len(CANDIDATES), size=cells), cost, budget)


def _bought(order: np.ndarray, wanted: np.ndarray, cost: np.ndarray, budget: float) -> np.ndarray:
    """The wanted candidates in this order of cells as far as the budget goes."""
    flat = cost.reshape(-1, cost.shape[2])
    affordable = np.cumsum(flat[order, wanted[order]]) <= budget
    chosen = np.zeros(len(flat), dtype=np.intp)
    chosen[order[affordable]] = wanted[order[affordable]]
    return chosen.reshape(cost.shape[:2])
