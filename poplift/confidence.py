"""Intervals of randomised comparisons: whole outlets resampled, and bounds that hold at every look."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from poplift.statistics import Interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """An effect, its standard error and the degrees of freedom that the error was estimated with."""

    effect: float
    standard_error: float
    degrees: float

    def interval(self, *, level: float = 0.95, multiplier: float | None = None) -> Interval:
        """The two-sided interval; `multiplier` replaces the normal quantile, the t correction stays."""
        from scipy.stats import norm, t

        normal = float(norm.ppf((1 + level) / 2))
        # Few clusters: the normal quantile is widened as Student's t widens it at this level.
        width = (multiplier or normal) * float(t.ppf((1 + level) / 2, self.degrees)) / normal * self.standard_error
        return Interval(self.effect, self.effect - width, self.effect + width, level)


def sequence_multiplier(look: float, *, planned: float, level: float = 0.95) -> float:
    """Standard errors on either side of the estimate after `look` of `planned` weeks, valid at all looks together.

    The normal-mixture boundary of Robbins (1970) in the form of the asymptotic confidence sequences of Waudby-Smith,
    Arbour, Sinha, Kennedy and Ramdas (2024, Annals of Statistics 52(6)), tuned to be tightest at the planned end.
    One week is one unit of time: where weekly errors of one outlet are positively correlated, looks resemble each
    other more than the boundary supposes, and it holds with room to spare.
    """
    if look <= 0 or planned <= 0:
        raise ValueError(f"confidence sequence: look {look} of {planned} planned weeks; both are above zero")
    alpha = 1 - level
    tuned = (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / planned
    spread = look * tuned
    return sqrt((1 + 1 / spread) * log((spread + 1) / alpha**2))


def cluster_bootstrap(
    columns: Floats,
    *,
    cluster: NDArray[np.generic],
    statistic: Callable[[Floats], Floats],
    draws: int = 2000,
    level: float = 0.95,
    seed: int,
) -> Interval:
    """Percentile interval of a statistic of column sums with whole clusters resampled.

    `columns` is (rows, k), `statistic` maps sums of shape (..., k) to shape (...). Raises ValueError on fewer than
    two clusters or a value that is not finite.
    """
    values = np.asarray(columns, dtype=np.float64).reshape(len(cluster), -1)
    if not np.isfinite(values).all():
        raise ValueError("cluster bootstrap: a value is NaN or infinite; drop or repair such rows before")
    _, place = np.unique(cluster, return_inverse=True)
    clusters = int(place.max()) + 1 if len(place) else 0
    if clusters < 2:
        raise ValueError(f"cluster bootstrap: {clusters} clusters; at least two are needed")
    sums = np.stack([np.bincount(place, weights=v, minlength=clusters) for v in values.T], axis=-1)
    weights = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=draws)
    drawn = statistic(weights.astype(np.float64) @ sums)
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(sums.sum(axis=0))), float(low), float(high), level)
