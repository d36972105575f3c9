"""Before the launch: the smallest effect that so many outlets and weeks can show, from the history's own spread."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
import pandas as pd

from monitoring.experiments.cuped import LEAST_OUTLETS
from monitoring.experiments.outcomes import LEAST_PRE_WEEKS, PRE_WEEKS, OutcomeError, Weekly, before, weekly
from poplift.confidence import Estimate, Floats, sequence_multiplier
from poplift.launches import WEEKS_AFTER

COVARIATES = 2
WEEKS = (2, 4, 6, 8, 12, 16)
WINDOWS = 6


class DesignError(Exception):
    """An experiment that cannot show anything; the message says what it lacks."""


@dataclass(frozen=True)
class PowerRow:
    """What an experiment of so many weeks can show, in net transactions per outlet and week with the activation."""

    weeks: int
    outlets: int
    standard_error: float
    detectable: float  # looked at every week
    detectable_once: float  # looked at once, at the end
    relative: float  # `detectable` as a share of the outlets' mean
    variance_removed: float  # by the adjustment for what was known before


@dataclass(frozen=True)
class Design:
    """The table of possible lengths and, where an effect is asked for, the shortest that shows it."""

    name: str
    rows: tuple[PowerRow, ...]
    weekly_mean: float
    wanted: float | None
    weeks: int | None
    advice: str


def design(
    name: str,
    history: pd.DataFrame,
    *,
    share: float = 0.5,
    wanted: float | None = None,
    weeks: Sequence[int] = WEEKS,
    weeks_after: int = WEEKS_AFTER,
    power: float = 0.8,
    level: float = 0.95,
) -> Design:
    """What can be found with `power` at `level`, by length; `history` has outlet_id, week, transactions.

    Raises DesignError with the outlets by name where they are too few, and where no length fits into the history.
    """
    metric = weekly(history)
    complete = metric.only(o for o, row in zip(metric.outlets, metric.values, strict=True) if np.isfinite(row).all())
    count = len(complete.outlets)
    smaller = floor_of_smaller_arm(count, share)
    if smaller < LEAST_OUTLETS + COVARIATES:
        listed = ", ".join(complete.outlets[:5]) + (", …" if count > 5 else "")
        least = ceil((LEAST_OUTLETS + COVARIATES) / min(share, 1 - share))
        raise DesignError(
            f"experiment {name}: {count} outlets with a whole history ({listed or 'none'}) are too few to tell an "
            f"effect from chance; it needs at least {least}, {LEAST_OUTLETS + COVARIATES} in the smaller arm"
        )
    fitting = [w for w in weeks if len(complete.weeks) - w - weeks_after >= LEAST_PRE_WEEKS]
    if not fitting:
        raise DesignError(
            f"experiment {name}: {len(complete.weeks)} weeks of history; {min(weeks)} weeks, {weeks_after} afterwards "
            f"and {LEAST_PRE_WEEKS} before are the least"
        )
    rows = tuple(_row(complete, w, after=weeks_after, share=share, power=power, level=level) for w in fitting)
    mean = float(complete.mean())
    enough = [row for row in rows if wanted is not None and row.detectable <= wanted]
    return Design(name, rows, mean, wanted, enough[0].weeks if enough else None, _advice(rows, wanted, enough))


def floor_of_smaller_arm(outlets: int, share: float) -> int:
    """Outlets that the smaller arm is sure to have."""
    return int(outlets * min(share, 1 - share))


def _row(metric: Weekly, weeks: int, *, after: int, share: float, power: float, level: float) -> PowerRow:
    from scipy.stats import norm

    adjusted, plain = _variances(metric, weeks, after)
    outlets = len(metric.outlets)
    error = sqrt(adjusted / (outlets * share * (1 - share)))
    found = Estimate(0.0, error, outlets - 2 - 2 * COVARIATES)
    sure = float(norm.ppf(power)) * error
    look = sequence_multiplier(weeks + after, planned=weeks + after, level=level)
    detectable = found.interval(level=level, multiplier=look).high + sure
    return PowerRow(
        weeks=weeks,
        outlets=outlets,
        standard_error=error,
        detectable=detectable,
        detectable_once=found.interval(level=level).high + sure,
        relative=detectable / float(metric.mean()),
        variance_removed=1 - adjusted / plain,
    )


def _variances(metric: Weekly, weeks: int, after: int) -> tuple[float, float]:
    """Variance between outlets of the net weekly outcome, adjusted and plain, over windows at the history's end.

    As in a readout, the weeks afterwards count and what they hold is spread over the weeks with the activation.
    """
    adjusted, plain = [], []
    last = metric.weeks[-1]
    for back in range(WINDOWS):
        end = last - back * max(weeks // 2, 1)
        first = end - weeks - after + 1
        if first - metric.weeks[0] < max(LEAST_PRE_WEEKS, min(PRE_WEEKS, len(metric.weeks) - weeks - after) // 2):
            break
        outcome = metric.between(first, end).sum(axis=1) / weeks
        adjusted.append(_residual_variance(outcome, before(metric, first)))
        plain.append(float(outcome.var(ddof=1)))
    if not adjusted:
        raise OutcomeError(f"no window of {weeks} weeks and {after} afterwards fits into the history")
    return float(np.mean(adjusted)), float(np.mean(plain))


def _residual_variance(outcome: Floats, covariates: Floats) -> float:
    matrix = np.column_stack([np.ones(len(outcome)), covariates])
    coefficients, *_ = np.linalg.lstsq(matrix, outcome, rcond=None)
    residuals = outcome - matrix @ coefficients
    return float((residuals**2).sum() / (len(outcome) - matrix.shape[1]))


def _advice(rows: Sequence[PowerRow], wanted: float | None, enough: Sequence[PowerRow]) -> str:
    best = min(rows, key=lambda row: row.detectable)
    if wanted is None:
        return f"The smallest effect that can be found is {best.detectable:.2f} a week, in {best.weeks} weeks."
    if enough:
        return f"{enough[0].weeks} weeks find an effect of {wanted:g} a week in four of five cases."
    outlets = ceil(best.outlets * (best.detectable / wanted) ** 2)
    return (
        f"An effect of {wanted:g} a week is too small for {best.outlets} outlets: the best is {best.detectable:.2f}, "
        f"in {best.weeks} weeks. It takes about {outlets} outlets, or a larger effect."
    )
