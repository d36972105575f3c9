"""The hidden truth of a simulated market: what tests and studies judge estimates by, and no model may read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poplift.activation import CANDIDATES
from poplift.sources.market.demand import actions_of, lift
from poplift.sources.market.environment import EXTRA_UNITS, Market, PlayedWeek
from poplift.sources.market.world import Floats


@dataclass(frozen=True)
class Truth:
    """Arrays over (outlet, own ppg, week played, candidate), expected transactions; `latent` has no candidates.

    Everything is conditional on what really happened around the cell: its noise, its past, the other ppgs as they
    were executed. `net_gain` is zero for the candidate none.
    """

    mean: Floats  # of the ppg itself in that week
    net_gain: Floats  # of the whole own portfolio against none, less the dip of the ppg in the weeks after
    latent: NDArray[np.int64]  # transactions wanted, before shelves ran empty
    expected: Floats  # (outlet, own ppg, week): mean under what was executed

    @staticmethod
    def units_per_transaction(candidate: int) -> float:
        """Expected units of a transaction under a candidate."""
        return 1 + EXTRA_UNITS * (1 + CANDIDATES[candidate].price_cut)


def truth_of(market: Market) -> Truth:
    """Expected transactions under every candidate in every cell that was played."""
    weeks = [_week(market, position) for position in range(len(market.history))]
    own = market.parameters.own_ppgs
    return Truth(
        mean=np.stack([mean for mean, _ in weeks], axis=2),
        net_gain=np.stack([gain for _, gain in weeks], axis=2),
        latent=np.stack([played.latent[:, :own] for played in market.history], axis=2),
        expected=np.stack([_expected(market, played) for played in market.history], axis=2),
    )


def _expected(market: Market, played: PlayedWeek) -> Floats:
    own = market.parameters.own_ppgs
    mean = np.exp(played.base + played.lifted - played.lost) * market.is_open(played.week)[:, None]
    return mean[:, :own]


def _week(market: Market, position: int) -> tuple[Floats, Floats]:
    known, played = market.parameters, market.history[position]
    own = known.own_ppgs
    lifts = _lifts(market, played)  # (n, own, K), 0 for none
    coupon = known.coupon * played.coupon[:, :own]
    mine = np.log(_expected(market, played).clip(1e-300)) - played.lifted[:, :own] + coupon
    mean = np.exp(mine[..., None] + lifts)
    gain = mean - mean[..., :1]
    # what the others sell falls by their share of this cell's lift; it had already fallen by that of the executed one
    share = known.switching / (own - 1)
    expected = _expected(market, played)
    others = expected.sum(axis=1, keepdims=True) - expected
    executed = played.lifted[:, :own] - coupon
    gain += (others * np.exp(share * executed))[..., None] * np.expm1(-share * lifts)
    for later, dip in enumerate(known.dip, start=1):
        after = market.history[position + later] if position + later < len(market.history) else played
        base = _expected(market, after) * (np.exp(dip * executed) if after is not played else 1.0)
        gain += base[..., None] * np.expm1(-dip * lifts)
    return mean, gain


def _lifts(market: Market, played: PlayedWeek) -> Floats:
    own, shape = market.parameters.own_ppgs, played.base.shape
    every = np.broadcast_to(np.arange(len(CANDIDATES)), (*shape, len(CANDIDATES)))
    display, mailer, cut = actions_of(every)
    lifts = lift(market.parameters, market.world, week=played.week, display=display, mailer=mailer, price_cut=cut)
    return lifts[:, :own]
