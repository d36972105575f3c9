"""Scores and intervals that training and monitoring share; intervals resample outlets and weeks together."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

FLOOR = 1e-3  # baskets/week: no forecast is scored below it, or one basket after a forecast of zero is infinitely bad
Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interval:
    """An estimate and the bounds that resampling gives it at `level`."""

    estimate: float
    low: float
    high: float
    level: float

    def below(self, bound: float) -> bool:
        """Whether the whole interval lies below the bound."""
        return self.high < bound

    def above(self, bound: float) -> bool:
        """Whether the whole interval lies above the bound."""
        return self.low > bound


def block_bootstrap(
    columns: np.ndarray,
    *,
    outlet: np.ndarray,
    week: np.ndarray,
    statistic: Statistic,
    draws: int = 2000,
    level: float = 0.95,
    seed: int,
) -> Interval:
    """Percentile interval of a statistic of column sums, with outlets and weeks resampled independently.

    `columns` is (rows, k): what is summed per cell, e.g. two models' losses and a one. `statistic` maps sums of
    shape (..., k) to shape (...). A cell drawn with an outlet i times and with a week j times weighs i*j: the
    pigeonhole bootstrap of Owen (2007), Annals of Applied Statistics 1(2), which is conservative when both outlets
    and weeks matter. Raises ValueError on fewer than two outlets or weeks, or on a value that is not finite.
    """
    sums, totals = resampled_sums(columns, outlet=outlet, week=week, draws=draws, seed=seed)
    drawn = statistic(totals)
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(sums)), float(low), float(high), level)


def resampled_sums(
    columns: np.ndarray, *, outlet: np.ndarray, week: np.ndarray, draws: int = 2000, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of `columns` (rows, k) as they are, (k,), and in every resample of `block_bootstrap`, (draws, k).

    For many statistics of the same cells at once. Raises ValueError as `block_bootstrap` does.
    """
    values = np.asarray(columns, dtype="float64").reshape(len(outlet), -1)
    if not np.isfinite(values).all():
        raise ValueError("bootstrap: a value is NaN or infinite; drop or repair such rows before comparing")
    _, row = np.unique(outlet, return_inverse=True)
    _, column = np.unique(week, return_inverse=True)
    rows, weeks = int(row.max()) + 1, int(column.max()) + 1
    if min(rows, weeks) < 2:
        raise ValueError(f"bootstrap: {rows} outlets and {weeks} weeks; at least two of each are needed")
    sums = np.stack(
        [np.bincount(row * weeks + column, weights=v, minlength=rows * weeks) for v in values.T], axis=-1
    ).reshape(rows, weeks, -1)
    random = np.random.default_rng(seed)
    outlets_drawn = random.multinomial(rows, np.full(rows, 1 / rows), size=draws).astype("float64")
    weeks_drawn = random.multinomial(weeks, np.full(weeks, 1 / weeks), size=draws).astype("float64")
    by_week = np.tensordot(outlets_drawn, sums, axes=1)
    totals = np.einsum("bw,bwk->bk", weeks_drawn, by_week)
    return sums.sum(axis=(0, 1)), totals


def relative_change(
    loss: np.ndarray,
    reference: np.ndarray,
    *,
    outlet: np.ndarray,
    week: np.ndarray,
    draws: int = 2000,
    level: float = 0.95,
    seed: int,
) -> Interval:
    """Paired change of a mean loss against a reference's on the same cells: -0.2 means 20 % lower."""
    return block_bootstrap(
        np.column_stack([loss, reference]),
        outlet=outlet,
        week=week,
        statistic=lambda totals: totals[..., 0] / totals[..., 1] - 1.0,
        draws=draws,
        level=level,
        seed=seed,
    )


def poisson_deviance(actual: np.ndarray, mean: np.ndarray, *, floor: float = FLOOR) -> np.ndarray:
    """Unit Poisson deviance of every row, >= 0; a strictly proper score of the mean (McCullagh and Nelder 1989)."""
    mu = np.maximum(mean, floor)
    sold = actual > 0
    log_term = np.where(sold, actual * np.log(np.where(sold, actual, 1.0) / mu), 0.0)
    result: np.ndarray = 2.0 * (log_term - actual + mu)
    return result


def wape(cells: pd.DataFrame, forecast: np.ndarray, *, by: tuple[str, ...]) -> float:
    """Sum of absolute errors over sum of `transactions` after summing both over `by`; NaN when nothing was sold."""
    sums = cells.assign(_forecast=forecast).groupby(list(by), sort=False)[["transactions", "_forecast"]].sum()
    total = float(sums["transactions"].sum())
    return float((sums["transactions"] - sums["_forecast"]).abs().sum() / total) if total else float("nan")


def bias(actual: np.ndarray, mean: np.ndarray) -> float:
    """Relative error of the total: 0.03 forecasts 3 % too much. NaN when nothing was sold."""
    total = float(actual.sum())
    return float(mean.sum() / total - 1.0) if total else float("nan")
