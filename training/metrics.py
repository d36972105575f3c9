"""Scores of count forecasts: proper scores at the cell, WAPE and bias at the levels people plan at, never MAPE."""

import numpy as np
import pandas as pd

from poplift.statistics import bias, poisson_deviance, wape

LEVELS: dict[str, tuple[str, ...]] = {
    "ppg_week": ("ppg_id", "week"),
    "outlet_week": ("outlet_id", "week"),
    "total_week": ("week",),
}


def rmsse(actual: np.ndarray, mean: np.ndarray, *, scale: np.ndarray) -> float:
    """Root mean squared scaled error: squared errors over `scale`, the history's mean squared one-step change.

    Hyndman and Koehler (2006) for the scaling, M5 competition for the root. Cells that never moved in their
    history have no scale and are left out. NaN when none is left.
    """
    moved = scale > 0
    if not moved.any():
        return float("nan")
    return float(np.sqrt(np.mean((actual[moved] - mean[moved]) ** 2 / scale[moved])))


def naive_scale(history: pd.DataFrame, cells: pd.DataFrame) -> np.ndarray:
    """Mean squared week-to-week change of each cell's transactions in `history`, aligned to `cells`' rows."""
    ordered = history.sort_values(["outlet_id", "ppg_id", "week"])
    change = ordered.groupby(["outlet_id", "ppg_id"], sort=False)["transactions"].diff()
    squared = (change**2).groupby([ordered["outlet_id"], ordered["ppg_id"]]).mean().rename("scale")
    joined = cells[["outlet_id", "ppg_id"]].join(squared, on=["outlet_id", "ppg_id"])["scale"]
    return joined.fillna(0.0).to_numpy(dtype="float64")


def pinball(actual: np.ndarray, quantile: np.ndarray, *, level: float) -> float:
    """Mean pinball loss of a quantile forecast."""
    error = actual - quantile
    return float(np.mean(np.maximum(level * error, (level - 1.0) * error)))


def jittered(counts: np.ndarray, *, seed: int) -> np.ndarray:
    """Counts plus uniform noise from [0, 1): continuous, so that a quantile of them is unique.

    Machado and Santos Silva (2005), Quantiles for counts, JASA 100(472).
    """
    result: np.ndarray = counts + np.random.default_rng(seed).uniform(size=len(counts))
    return result


def coverage(actual: np.ndarray, low: np.ndarray, high: np.ndarray, *, seed: int) -> np.ndarray:
    """Per row, whether the jittered count lies between two jittered-count quantiles.

    This is the randomised probability integral transform (Czado, Gneiting and Held 2009, Biometrics 65): an interval
    of integers over counts that are mostly zero covers more than it says whatever the model does.
    """
    z = jittered(actual, seed=seed)
    result: np.ndarray = (z >= low) & (z <= high)
    return result


def scores(cells: pd.DataFrame, forecast: np.ndarray, *, scale: np.ndarray) -> dict[str, float]:
    """Every point score of one forecast of transactions over rows of the panel."""
    actual = cells["transactions"].to_numpy(dtype="float64")
    return {
        "poisson_deviance": float(poisson_deviance(actual, forecast).mean()),
        "rmsse": rmsse(actual, forecast, scale=scale),
        **{f"wape_{name}": wape(cells, forecast, by=by) for name, by in LEVELS.items()},
        "bias": bias(actual, forecast),
    }
