"""Many questions to the same cells at once: whole outlets and weeks resampled, intervals that hold together."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from poplift.statistics import Interval, resampled_sums

DETECTABLE = 1.959964 + 0.841621  # standard errors: 95 % two-sided, found four times out of five


@dataclass(frozen=True)
class Resampling:
    """How often, from which seed and at which level."""

    seed: int
    draws: int = 2000
    level: float = 0.95

    def each(
        self, cells: pd.DataFrame, columns: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]
    ) -> list[Interval]:
        """Percentile intervals, one at a time; `statistic` maps sums (..., k) of columns (rows, k) to (..., m)."""
        estimate, drawn = self._drawn(cells, columns, statistic)
        low, high = np.nanquantile(drawn, [(1 - self.level) / 2, (1 + self.level) / 2], axis=0)
        return [Interval(float(e), float(a), float(b), self.level) for e, a, b in zip(estimate, low, high, strict=True)]

    def together(
        self, cells: pd.DataFrame, columns: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]
    ) -> list[Interval]:
        """Intervals that hold all together at the level: sup-t bands, the quantile of the largest deviation.

        Montiel Olea and Plagborg-Møller (2019), Simultaneous confidence bands, J. Applied Econometrics 34(1). They
        take the dependence between the questions into account, so they are narrower than Bonferroni's.
        """
        estimate, drawn = self._drawn(cells, columns, statistic)
        error = np.nanstd(drawn, axis=0)
        moves = error > 0
        widest = 0.0
        if moves.any():
            deviation = np.nan_to_num(np.abs(drawn[:, moves] - estimate[moves]) / error[moves])
            widest = float(np.quantile(deviation.max(axis=1), self.level))
        return [
            Interval(float(e), float(e - widest * s), float(e + widest * s), self.level)
            for e, s in zip(estimate, error, strict=True)
        ]

    def _drawn(
        self, cells: pd.DataFrame, columns: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        sums, totals = resampled_sums(
            columns,
            outlet=cells["outlet_id"].to_numpy(),
            week=cells["week"].to_numpy(),
            draws=self.draws,
            seed=self.seed,
        )
        with np.errstate(divide="ignore", invalid="ignore"):  # a resample may miss a group altogether
            estimate, drawn = statistic(sums), statistic(totals)
        return estimate, np.where(np.isfinite(drawn), drawn, np.nan)


def detectable(interval: Interval) -> float:
    """The smallest gain that cells like these would have shown four times out of five, from the interval's width."""
    return DETECTABLE * (interval.high - interval.low) / (2 * 1.959964)


def changes(sums: np.ndarray) -> np.ndarray:
    """Relative change of every first against every second of pairs of sums, (..., 2m) to (..., m)."""
    result: np.ndarray = sums[..., 0::2] / sums[..., 1::2] - 1.0
    return result


def masked_pairs(first: np.ndarray, second: np.ndarray, masks: list[np.ndarray]) -> np.ndarray:
    """Columns for `changes`: both values within every mask, zero elsewhere; (rows, 2m)."""
    return np.column_stack([column for mask in masks for column in (first * mask, second * mask)])
