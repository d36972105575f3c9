"""Whether forecasts mean what they say: the total, tenths of the forecast volume, and the 80 % interval."""

import numpy as np
import pandas as pd

from poplift.statistics import bias
from training.demand import QUANTILES
from training.gate.contender import HIGH, LOW, Contender
from training.gate.finding import Finding, Outcome, bounds, percent
from training.gate.resampling import Resampling, changes, masked_pairs
from training.metrics import jittered

CHECK, INTERVAL_CHECK = "calibration", "interval"
MOST_BIAS = 0.10  # of the total; more is a broken model, whatever its deviance
MOST_TENTH_BIAS = 0.25
COVERAGE = (0.75, 0.85)  # of an interval that says 80 %
TENTHS = 10


def check_calibration(cells: pd.DataFrame, *, challenger: np.ndarray, resampling: Resampling) -> list[Finding]:
    """Bias of the total, and of every tenth of the forecast volume from the smallest forecasts to the largest.

    Tenths of volume, not of cells: a tenth of the cells would be thousands that sell nothing. Their intervals hold
    together at 95 % (sup-t); one that lies surely beyond MOST_TENTH_BIAS refuses.
    """
    actual = cells["transactions"].to_numpy("float64")
    off = bias(actual, challenger)
    if not abs(off) <= MOST_BIAS:
        said = f"the total is {off:+.1%} off, more than {MOST_BIAS:.0%}"
        return [Finding(CHECK, "refuse", said, {"bias": off} if np.isfinite(off) else {})]
    tenth = tenths(challenger)
    intervals = resampling.together(
        cells, masked_pairs(challenger, actual, [tenth == n for n in range(TENTHS)]), changes
    )
    worst = max(range(TENTHS), key=lambda n: abs(np.nan_to_num(intervals[n].estimate)))
    proven = any(i.above(MOST_TENTH_BIAS) or i.below(-MOST_TENTH_BIAS) for i in intervals)
    outcome: Outcome = "pass"
    if abs(intervals[worst].estimate) > MOST_TENTH_BIAS:
        outcome = "refuse" if proven else "not enough evidence"
    figures = {"bias": off}
    for n, interval in enumerate(intervals):
        figures |= bounds(f"bias_tenth_{n + 1}", interval)
    said = f"bias {off:+.1%} in total, {percent(intervals[worst])} in the worst tenth of the volume ({worst + 1} of 10)"
    if outcome != "pass":
        said += f", allowed are {MOST_TENTH_BIAS:.0%}"
    return [Finding(CHECK, outcome, said, {k: v for k, v in figures.items() if np.isfinite(v)})]


def check_interval(cells: pd.DataFrame, *, challenger: Contender, resampling: Resampling) -> list[Finding]:
    """Coverage of the 80 % interval by the randomised probability integral transform, and the shares beside it.

    Czado, Gneiting and Held (2009): jittered counts lie below, in and above in the shares .1, .8, .1 if the heads are
    right. Nothing is said of a contender without quantile heads.
    """
    if LOW not in challenger.heads or HIGH not in challenger.heads:
        return []
    noisy = jittered(cells["transactions"].to_numpy("float64"), seed=resampling.seed)
    below, above = noisy < challenger.heads[LOW], noisy > challenger.heads[HIGH]
    columns = np.column_stack([~(below | above), below, above, np.ones(len(cells))]).astype("float64")
    inside, under, over = resampling.each(cells, columns, lambda sums: sums[..., :3] / sums[..., 3:])
    outcome: Outcome = "pass"
    if inside.below(COVERAGE[0]) or inside.above(COVERAGE[1]):
        outcome = "refuse"
    elif not COVERAGE[0] <= inside.estimate <= COVERAGE[1]:
        outcome = "not enough evidence"
    level = QUANTILES[HIGH] - QUANTILES[LOW]
    said = f"the {level:.0%} interval covers {inside.estimate:.1%} ({inside.low:.1%} to {inside.high:.1%})"
    if outcome != "pass":
        said += f", allowed are {COVERAGE[0]:.0%} to {COVERAGE[1]:.0%}"
    figures = bounds("coverage", inside) | bounds("share_below", under) | bounds("share_above", over)
    return [Finding(INTERVAL_CHECK, outcome, said, figures)]


def tenths(forecast: np.ndarray) -> np.ndarray:
    """0 to 9 for every cell: cells in the order of their forecast, cut where a tenth of the total is reached."""
    order = np.argsort(forecast, kind="stable")
    reached = np.cumsum(forecast[order])
    result = np.empty(len(forecast), dtype="int64")
    result[order] = np.minimum(TENTHS - 1, (TENTHS * (reached - forecast[order] / 2) / reached[-1]).astype("int64"))
    return result
