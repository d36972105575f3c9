"""What every outlet did in every week, as one row of numbers per outlet."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from poplift.confidence import Floats

PRIMARY = "transactions"
PRE_WEEKS = 26  # before the first week: what an outlet is adjusted for
RECENT_WEEKS = 8
LEAST_PRE_WEEKS = 4


class OutcomeError(Exception):
    """Outcomes cannot be used; the message says which rows or columns and what to do."""


@dataclass(frozen=True)
class Weekly:
    """Values of one metric, (outlets, weeks); an outlet that lacks a week has NaN there."""

    outlets: tuple[str, ...]
    weeks: tuple[int, ...]
    values: Floats

    def mean(self) -> float:
        """Mean over all outlets and weeks."""
        return float(self.values.mean())

    def between(self, first: int, last: int) -> Floats:
        """The columns of the weeks from `first` to `last`, both included."""
        chosen = [place for place, week in enumerate(self.weeks) if first <= week <= last]
        return self.values[:, chosen]

    def only(self, outlets: Iterable[str]) -> "Weekly":
        """Those outlets, in their order; one that is not here is all NaN."""
        wanted = tuple(outlets)
        place = {outlet: row for row, outlet in enumerate(self.outlets)}
        rows = np.full((len(wanted), len(self.weeks)), np.nan)
        for row, outlet in enumerate(wanted):
            if outlet in place:
                rows[row] = self.values[place[outlet]]
        return Weekly(wanted, self.weeks, rows)


def weekly(outcomes: pd.DataFrame, column: str = PRIMARY) -> Weekly:
    """One metric of a frame with outlet_id, week and the metric, one row per outlet and week.

    Raises OutcomeError for a missing column, a pair that comes twice, or a value that is not finite.
    """
    absent = [name for name in ("outlet_id", "week", column) if name not in outcomes.columns]
    if absent or outcomes.empty:
        raise OutcomeError(f"outcomes have no {', '.join(absent) or 'rows'}; they are outlet_id, week and the metrics")
    twice = outcomes.duplicated(["outlet_id", "week"])
    if twice.any():
        first = outcomes[twice].iloc[0]
        raise OutcomeError(
            f"outcomes name {int(twice.sum())} pairs of outlet and week twice, first outlet {first['outlet_id']} in "
            f"week {first['week']}; sum them before, or read them as of one instant"
        )
    if not np.isfinite(outcomes[column].to_numpy(np.float64, na_value=np.nan)).all():
        raise OutcomeError(f"outcomes: {column} is not finite in some rows; leave out what was not observed")
    wide = outcomes.pivot_table(index="outlet_id", columns="week", values=column, aggfunc="sum", dropna=True)
    return Weekly(tuple(map(str, wide.index)), tuple(int(w) for w in wide.columns), wide.to_numpy(np.float64))


def before(metric: Weekly, first_week: int) -> Floats:
    """Covariates of the adjustment (outlets, 2): means of the last 26 and of the last 8 weeks before `first_week`.

    Raises OutcomeError where fewer than four weeks came before.
    """
    long = metric.between(first_week - PRE_WEEKS, first_week - 1)
    if long.shape[1] < LEAST_PRE_WEEKS:
        raise OutcomeError(
            f"{long.shape[1]} weeks of outcomes before week {first_week}; at least {LEAST_PRE_WEEKS} are needed"
        )
    recent = metric.between(first_week - RECENT_WEEKS, first_week - 1)
    return np.column_stack([long.mean(axis=1), recent.mean(axis=1)])
