"""What account managers do without the platform: they promote where and when it sells, which confounds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poplift.activation import CANDIDATES
from poplift.sources.market.demand import actions_of
from poplift.sources.market.parameters import MarketParameters
from poplift.sources.market.world import Draws, Floats, World, season_of

DEPTHS, DEPTH_SHARES = (0.1, 0.2, 0.3, 0.4), (0.30, 0.35, 0.20, 0.15)
CUT_WEEKS, MAILER_WEEKS, DISPLAY_CELLS = 0.53, 0.08, 0.12  # of average ppgs, outlets and weeks


@dataclass(frozen=True)
class Plan:
    """What is to run in a week, (n, k) each, and which cells were drawn with what probability."""

    display: Floats
    mailer: Floats
    price_cut: Floats
    explored: NDArray[np.bool_]
    propensity: Floats  # NaN where nobody drew
    chain_cut: Floats  # (k,), the cut that account managers announce for the whole chain
    is_usual: NDArray[np.bool_]  # account managers decided, or drew


def status_quo(parameters: MarketParameters, world: World, draws: Draws, *, week: int, trend: Floats) -> Plan:
    """Choices of account managers for own and competing ppgs.

    Mailers and price cuts are decided for the whole chain by ppg and week, mailers more often for what sells and in
    season; displays by outlet, more often in large outlets, after good weeks, in season, and by the hidden factor.
    `trend` (n, k) is the log of recent sales over usual ones. A share of own cells is drawn at random instead.
    """
    random = draws.managers
    n, k = trend.shape
    _, cosine, is_holiday = season_of(parameters, week)
    in_season = -cosine + is_holiday
    chain = trend.mean(axis=0)
    sells = world.level.mean(axis=0) - world.level.mean()
    mailer = random.uniform(size=k) < _logistic(MAILER_WEEKS, 2.0 * chain + 0.6 * in_season + 0.9 * sells)
    cut_week = random.uniform(size=k) < _logistic(CUT_WEEKS, 0.8 * chain + 0.3 * in_season)
    depth = np.where(cut_week, random.choice(DEPTHS, size=k, p=DEPTH_SHARES), 0.0)
    pull = 1.4 * world.size[:, None] + 1.8 * trend + 0.6 * in_season + 0.5 * sells
    pull += parameters.hidden_confounding * world.hidden[:, None]
    display = random.uniform(size=(n, k)) < _logistic(DISPLAY_CELLS, pull)
    plan = Plan(
        display=display.astype(np.float64),
        mailer=np.broadcast_to(mailer, (n, k)).astype(np.float64),
        price_cut=np.broadcast_to(depth, (n, k)).copy(),
        explored=np.zeros((n, k), dtype=bool),
        propensity=np.full((n, k), np.nan),
        chain_cut=depth,
        is_usual=np.ones((n, k), dtype=bool),
    )
    return explored(parameters, random, plan)


def explored(parameters: MarketParameters, random: np.random.Generator, plan: Plan) -> Plan:
    """A share of own cells gets a candidate drawn evenly, with the probability written down."""
    n, own = plan.display.shape[0], parameters.own_ppgs
    drawn = np.zeros(plan.display.shape, dtype=bool)
    drawn[:, :own] = random.uniform(size=(n, own)) < parameters.exploration
    display, mailer, cut = actions_of(random.integers(len(CANDIDATES), size=plan.display.shape))
    return Plan(
        display=np.where(drawn, display, plan.display),
        mailer=np.where(drawn, mailer, plan.mailer),
        price_cut=np.where(drawn, cut, plan.price_cut),
        explored=drawn,
        propensity=np.where(drawn, 1 / len(CANDIDATES), np.nan),
        chain_cut=plan.chain_cut,
        is_usual=plan.is_usual,
    )


def _logistic(share: float, pull: Floats) -> Floats:
    odds: Floats = 1 / (1 + np.exp(-(np.log(share / (1 - share)) + pull)))
    return odds
