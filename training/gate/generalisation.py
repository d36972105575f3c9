"""Whether what was learned holds outside: the gain over a rolling mean on training weeks and on held-out ones."""

import numpy as np
import pandas as pd

from poplift.statistics import Interval, poisson_deviance, resampled_sums
from training.baselines import LONG_MEAN, NAIVE
from training.gate.finding import Finding, Outcome, bounds
from training.gate.resampling import Resampling

CHECK = "generalisation"
MOST_LOSS = 0.15
REFERENCE = NAIVE[LONG_MEAN]  # learns nothing, so it cannot fit too closely


def check_generalisation(
    learnt: pd.DataFrame,
    held_out: pd.DataFrame,
    *,
    on_learnt: np.ndarray,
    on_held_out: np.ndarray,
    resampling: Resampling,
) -> Finding:
    """Refuse a model whose deviance, in units of a mean that fits nothing, is much worse on weeks it did not see.

    `learnt` are the newest training weeks, as many as are held out; the mean takes out that weeks differ. A ratio of
    ratios less one: 0 for a model that is as good outside, 1 for one that is twice as bad.
    """
    inside, resampled_inside = _relative(learnt, on_learnt, resampling)
    outside, resampled_outside = _relative(held_out, on_held_out, resampling)
    resampled = resampled_outside / resampled_inside - 1.0
    low, high = np.nanquantile(resampled, [(1 - resampling.level) / 2, (1 + resampling.level) / 2])
    loss = Interval(outside / inside - 1.0, float(low), float(high), resampling.level)
    figures = {"deviance_of_mean_inside": inside, "deviance_of_mean_outside": outside}
    figures |= bounds("generalisation_loss", loss)
    said = f"deviance is {inside:.0%} of the long mean's on training weeks and {outside:.0%} on held-out ones"
    outcome: Outcome = "pass"
    worse = f"{loss.estimate:+.0%} ({loss.low:+.0%} to {loss.high:+.0%}) where at most {MOST_LOSS:.0%} are allowed"
    if loss.above(MOST_LOSS):
        outcome, said = "refuse", f"overfitted: {said}, {worse}"
    elif loss.estimate > MOST_LOSS:
        outcome, said = "not enough evidence", f"{said}, {worse}"
    return Finding(CHECK, outcome, said, figures)


def _relative(rows: pd.DataFrame, forecast: np.ndarray, resampling: Resampling) -> tuple[float, np.ndarray]:
    """Deviance over that of the reference, as it is and in every resample of outlets and weeks."""
    actual = rows["transactions"].to_numpy("float64")
    reference = poisson_deviance(actual, rows[REFERENCE].fillna(0.0).to_numpy("float64"))
    sums, totals = resampled_sums(
        np.column_stack([poisson_deviance(actual, forecast), reference]),
        outlet=rows["outlet_id"].to_numpy(),
        week=rows["week"].to_numpy(),
        draws=resampling.draws,
        seed=resampling.seed,
    )
    return float(sums[0] / sums[1]), totals[:, 0] / totals[:, 1]
