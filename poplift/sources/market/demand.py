"""Expected demand under activations: lift, dip afterwards, switching within the own portfolio, competition."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from poplift.activation import CANDIDATES
from poplift.sources.market.parameters import MarketParameters
from poplift.sources.market.world import Floats, World, season_of


def actions_of(indices: NDArray[np.intp]) -> tuple[Floats, Floats, Floats]:
    """Display, mailer and price cut of indices into the standard candidates, in the shape of the indices."""
    display, mailer, cut = (
        np.array([getattr(candidate, name) for candidate in CANDIDATES], dtype=np.float64)[indices]
        for name in ("display", "mailer", "price_cut")
    )
    return display, mailer, cut


def lift(
    parameters: MarketParameters, world: World, *, week: int, display: Floats, mailer: Floats, price_cut: Floats
) -> Floats:
    """Log-lift of activations at every outlet and ppg; arguments broadcast against (n, k, ...)."""
    extra = (1,) * (np.ndim(display) - 2)
    weaker = parameters.fault("display_effect", week)
    steeper = parameters.fault("price_sensitivity", week)
    stands = world.display.reshape(*world.display.shape, *extra) * (1.0 if weaker is None else weaker)
    elasticity = world.elasticity.reshape(*world.elasticity.shape, *extra) * (1.0 if steeper is None else steeper)
    posted = world.mailer.reshape(*world.mailer.shape, *extra)
    total: Floats = (
        stands * display + posted * mailer + parameters.both * display * mailer + elasticity * np.log1p(-price_cut)
    )
    return total


def log_base(parameters: MarketParameters, world: World, week: int, noise: Floats) -> Floats:
    """Log of expected transactions without any activation, past or present, (n, k); the season peaks in summer."""
    _, cosine, is_holiday = season_of(parameters, week)
    return world.level + noise - parameters.season * cosine + parameters.holiday * is_holiday


def losses(parameters: MarketParameters, week: int, now: Floats, earlier: Sequence[Floats]) -> Floats:
    """Log of demand lost at every outlet and ppg, (n, k): to the dip, the own portfolio, competitors, neighbours.

    `now` are the lifts of this week with coupons, `earlier` those of the weeks before, newest first.
    """
    own = parameters.own_ppgs
    lost = np.zeros_like(now)
    for share, lifted in zip(parameters.dip, earlier, strict=False):
        lost += share * lifted
    ours, theirs = now[:, :own], now[:, own:]
    lost[:, :own] += parameters.switching * (ours.sum(axis=1, keepdims=True) - ours) / (own - 1)
    lost[:, :own] += parameters.competition * theirs.mean(axis=1, keepdims=True)
    lost[:, own:] += parameters.competition * ours.mean(axis=1, keepdims=True)
    spilled = parameters.fault("spill_over", week)
    if spilled is not None:
        lost[:, :own] += spilled * (np.roll(ours, 1, axis=0) + np.roll(ours, -1, axis=0)) / 2
    return lost
