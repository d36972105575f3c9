"""The market as an environment: observe, act, step; a week is decided, played and remembered."""

from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr, pdtrik

from poplift.sources.market.demand import actions_of, lift, log_base, losses
from poplift.sources.market.parameters import MarketParameters
from poplift.sources.market.status_quo import Plan, status_quo
from poplift.sources.market.world import Draws, Floats, World, draw_week, draw_world

AS_USUAL = -1
TREND_WEEKS = 4
ORDERED = 1.8  # stock on hand over the expected sales of the week, so that a fifth of the shelves runs empty
ORDERED_SPREAD = 0.45
COUPON_CELLS = 2.4  # log odds against a coupon of the retailer in an average outlet and week
EXTRA_UNITS = 0.7  # units of a transaction beyond the first; a cut of 20 % makes it a fifth more
FORESEEN = 0.55  # share of a lift that the outlet orders for


@dataclass(frozen=True)
class PlayedWeek:
    """One week that is over; arrays are (n, k), own ppgs first."""

    week: int
    plan: Plan  # as executed
    coupon: Floats
    base: Floats  # log of expected transactions without activation, past or present
    lifted: Floats  # log-lift of the activations with the coupon
    lost: Floats
    latent: NDArray[np.int64]  # transactions that were wanted
    transactions: NDArray[np.int64]  # and those that the stock allowed
    units: NDArray[np.int64]
    in_stock: NDArray[np.bool_]  # what the flag says


@dataclass
class Market:
    """A market at the opening of `week`; `act` decides it, `step` plays it.

    Without `act` a week runs as account managers want it. Same seed, two policies: the same outlets, the same luck.
    """

    parameters: MarketParameters
    seed: int
    world: World = field(init=False)
    history: list[PlayedWeek] = field(init=False, default_factory=list)
    _noise: Floats = field(init=False)
    _decided: Plan | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Draw outlets, ppgs and their responses."""
        self.world = draw_world(self.parameters, self.seed)
        self._noise = np.zeros_like(self.world.level)

    @property
    def week(self) -> int:
        """The week that is decided next; weeks count from 1."""
        return len(self.history) + 1

    def act(self, plan: NDArray[np.intp], *, propensity: Floats | None = None) -> None:
        """Decide the own ppgs of the coming week: (outlets, own ppgs) indices into the standard candidates.

        AS_USUAL leaves a cell to the account managers, draws included. `propensity`, of the same shape, is the
        probability with which each was chosen, NaN where nothing was drawn; it is logged and changes nothing. Competing
        ppgs go on as before. Raises ValueError on another shape.
        """
        shape = (self.parameters.outlets, self.parameters.own_ppgs)
        if plan.shape != shape:
            raise ValueError(f"a plan has the shape {shape}, this one {plan.shape}")
        own = self.parameters.own_ppgs
        theirs = self._status_quo()
        known = np.full(shape, np.nan) if propensity is None else propensity
        display, mailer, cut = (others.copy() for others in (theirs.display, theirs.mailer, theirs.price_cut))
        ours = plan != AS_USUAL
        for every, planned in zip((display, mailer, cut), actions_of(np.where(ours, plan, 0)), strict=True):
            every[:, :own] = np.where(ours, planned, every[:, :own])
        logged, drawn, usual = theirs.propensity.copy(), theirs.explored.copy(), theirs.is_usual.copy()
        logged[:, :own] = np.where(ours, known, logged[:, :own])
        drawn[:, :own] = np.where(ours, np.isfinite(known), drawn[:, :own])
        usual[:, :own] = ~ours
        self._decided = replace(
            theirs,
            display=display,
            mailer=mailer,
            price_cut=cut,
            explored=drawn,
            propensity=logged,
            is_usual=usual,
        )

    def step(self) -> PlayedWeek:
        """Play the coming week and remember it."""
        draws, week = self._draws(), self.week
        decided = self._decided or self._status_quo()
        played = self._play(week, self._executed(week, decided, draws), draws)
        self.history.append(played)
        self._decided = None
        return played

    def is_open(self, week: int) -> NDArray[np.bool_]:
        """Which outlets sell in a week, (n,): the last ones may open later."""
        n = self.parameters.outlets
        late = [fault for fault in self.parameters.faults if fault.kind == "new_outlets"]
        closed = max((round(fault.size * n) for fault in late if fault.onset > week), default=0)
        return np.arange(n) < n - closed

    def _draws(self) -> Draws:
        return draw_week(self.parameters, self.seed, self.week)

    def _status_quo(self) -> Plan:
        trend, draws = self._trend(), self._draws()
        return status_quo(self.parameters, self.world, draws, week=self.week, trend=trend)

    def _trend(self) -> Floats:
        recent = [played.transactions for played in self.history[-TREND_WEEKS:]]
        if not recent:
            return np.zeros_like(self.world.level)
        usual = np.exp(self.world.level)
        trend: Floats = np.log((np.mean(recent, axis=0) + 0.3 * usual) / (1.3 * usual))
        return trend

    def _executed(self, week: int, plan: Plan, draws: Draws) -> Plan:
        display, cut = plan.display.copy(), plan.price_cut.copy()
        own = self.parameters.own_ppgs
        forgotten = self.parameters.fault("display_not_executed", week)
        if forgotten is not None:
            display[:, :own] *= draws.execution >= forgotten
        answer = self.parameters.fault("competitor_reacts", week)
        if answer is not None:
            cut[:, own:] = np.maximum(cut[:, own:], answer * cut[:, :own].mean(axis=1, keepdims=True))
        return replace(plan, display=display, price_cut=cut)

    def _play(self, week: int, plan: Plan, draws: Draws) -> PlayedWeek:
        known = self.parameters
        self._noise = known.noise_memory * self._noise + draws.innovation
        base = log_base(known, self.world, week, self._noise)
        pull = self._trend() + self.world.size[:, None] - COUPON_CELLS
        coupon = (draws.coupon < 1 / (1 + np.exp(-pull))).astype(np.float64)
        lifted = known.coupon * coupon + lift(
            known, self.world, week=week, display=plan.display, mailer=plan.mailer, price_cut=plan.price_cut
        )
        earlier = [past.lifted for past in islice(reversed(self.history), len(known.dip))]
        lost = losses(known, week, lifted, earlier)
        mean = np.exp(base + lifted - lost) * self.is_open(week)[:, None]
        latent = _poisson(draws.purchases, mean * draws.frailty)
        ordered = ORDERED * np.exp(base + FORESEEN * lifted - lost + ORDERED_SPREAD * draws.stock)
        sold = np.minimum(latent, np.ceil(ordered).astype(np.int64)) if known.is_censored else latent
        is_empty = sold < latent
        reported_empty = np.where(is_empty, draws.flag < known.flag_sensitivity, draws.flag < known.flag_false_alarms)
        units = sold + _poisson(draws.extra_units, EXTRA_UNITS * (1 + plan.price_cut) * sold)
        return PlayedWeek(week, plan, coupon, base, lifted, lost, latent, sold, units, ~reported_empty)


def simulate(parameters: MarketParameters, *, seed: int) -> Market:
    """A market played to its end by account managers, with its share of exploration."""
    market = Market(parameters, seed)
    for _ in range(parameters.weeks):
        market.step()
    return market


def _poisson(uniform: Floats, mean: Floats) -> NDArray[np.int64]:
    """Poisson counts by inversion: the same uniform gives more where the mean is higher."""
    at = np.maximum(mean, 1e-12)
    above = np.maximum(np.ceil(pdtrik(uniform, at)), 0.0)
    below = np.maximum(above - 1, 0.0)
    counts: NDArray[np.int64] = np.where(pdtr(below, at) >= uniform, below, above).astype(np.int64)
    return counts
