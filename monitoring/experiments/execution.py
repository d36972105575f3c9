"""Planned is not done: what was run of what was planned, and where the control arm ran it too."""

from dataclasses import dataclass

import pandas as pd

from poplift.assignment import CONTROL, TREATMENT
from poplift.launches import Launch

CONTAMINATED_ABOVE = 0.02  # of the control arm's outlet-weeks: beyond it an arm is flagged, below it outlets are named


@dataclass(frozen=True)
class Execution:
    """Outlet-weeks with the activation by arm, those planned, and the control outlets that ran it."""

    planned: int
    in_treatment: int
    in_control: int
    control_outlet_weeks: int
    contaminated: tuple[str, ...]

    @property
    def done_share(self) -> float:
        """Share of what was planned that was run."""
        return self.in_treatment / self.planned if self.planned else 0.0

    @property
    def is_contaminated(self) -> bool:
        """Whether the control arm ran so much of it that the effect is understated."""
        return self.in_control > CONTAMINATED_ABOVE * self.control_outlet_weeks


def execution(reported: pd.DataFrame | None, record: Launch, *, last_week: int) -> Execution | None:
    """What was run until `last_week`; None where nobody reported.

    `reported` has outlet_id, week and activation, one or more rows per outlet and week in which something was run.
    """
    if reported is None:
        return None
    last = min(record.first_week + record.weeks - 1, last_week)
    within = reported[
        reported["outlet_id"].isin(list(record.arms))
        & reported["week"].between(record.first_week, last)
        & (reported["activation"] == record.activation)
    ].drop_duplicates(["outlet_id", "week"])
    arm = within["outlet_id"].map(record.arms)
    weeks = max(last - record.first_week + 1, 0)
    sizes = {name: sum(of == name for of in record.arms.values()) * weeks for name in (CONTROL, TREATMENT)}
    return Execution(
        planned=sizes[TREATMENT],
        in_treatment=int((arm == TREATMENT).sum()),
        in_control=int((arm == CONTROL).sum()),
        control_outlet_weeks=sizes[CONTROL],
        contaminated=tuple(sorted(within.loc[arm == CONTROL, "outlet_id"].unique())),
    )
