"""What must not get worse while transactions get more: margin, category, availability, neighbours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from monitoring.experiments.cuped import TooFewOutletsError, adjusted_difference
from monitoring.experiments.outcomes import Weekly, before, weekly
from poplift.assignment import CONTROL, TREATMENT
from poplift.confidence import Floats
from poplift.launches import Launch
from poplift.statistics import Interval

State = Literal["ok", "harmed", "not_measured"]


@dataclass(frozen=True)
class Metric:
    """One thing to guard: a column of the outcomes, and whether more of it is harm."""

    column: str
    label: str
    unit: str
    more_is_harm: bool = False


GUARDED = (
    Metric("margin_usd", "Margin less activation cost", "USD per outlet and week"),
    Metric("category_transactions", "Transactions of the whole category", "per outlet and week"),
    Metric("stock_out_share", "Empty shelves", "share of ppg-weeks", more_is_harm=True),
)


@dataclass(frozen=True)
class Guardrail:
    """One judgement; the interval holds at every look, and is None where the outcomes do not have the metric."""

    label: str
    unit: str
    interval: Interval | None
    state: State
    note: str = ""


def guard(
    outcomes: pd.DataFrame, record: Launch, outlets: tuple[str, ...], *, multiplier: float | None
) -> list[Guardrail]:
    """Judge every guarded metric over the weeks with the activation; harm is an interval wholly on the wrong side."""
    return [_guard(metric, outcomes, record, outlets, multiplier=multiplier) for metric in GUARDED]


def _guard(
    metric: Metric,
    outcomes: pd.DataFrame,
    record: Launch,
    outlets: tuple[str, ...],
    *,
    multiplier: float | None,
) -> Guardrail:
    if metric.column not in outcomes.columns:
        return Guardrail(metric.label, metric.unit, None, "not_measured", f"outcomes have no {metric.column}")
    known = outcomes[outcomes[metric.column].notna()]
    if known.empty:
        return Guardrail(metric.label, metric.unit, None, "not_measured", f"{metric.column} is empty")
    values = weekly(known, metric.column).only(outlets)
    during = values.between(record.first_week, record.first_week + record.weeks - 1).mean(axis=1)
    covariates = before(values, record.first_week)
    if not (np.isfinite(during).all() and np.isfinite(covariates).all()):
        return Guardrail(metric.label, metric.unit, None, "not_measured", f"{metric.column} lacks outlets or weeks")
    treated = np.array([record.arms[o] == TREATMENT for o in outlets])
    found = adjusted_difference(during, treated, covariates).interval(multiplier=multiplier)
    harmed = found.above(0.0) if metric.more_is_harm else found.below(0.0)
    return Guardrail(metric.label, metric.unit, found, "harmed" if harmed else "ok")


def spill_over(
    metric: Weekly,
    outcome: Floats,
    record: Launch,
    neighbours: Mapping[str, Sequence[str]] | None,
    *,
    multiplier: float | None,
) -> Guardrail:
    """Whether control outlets beside treated ones sell less: shoppers who only moved are no added ones.

    Compares the control outlets above and below the mean share of treated outlets among their own neighbours,
    adjusted for what was known before; `outcome` belongs to the outlets of `metric`.
    """
    label, unit = "Neighbours: control outlets beside treated ones", "transactions per outlet and week"
    if not neighbours:
        return Guardrail(label, unit, None, "not_measured", "nobody told who is whose neighbour")
    control = np.array([record.arms[o] == CONTROL for o in metric.outlets])
    exposure = np.array([_exposure(record, neighbours.get(o, ())) for o in metric.outlets])[control]
    beside_many = exposure > exposure.mean()
    covariates = before(metric, record.first_week)[control]
    try:
        found = adjusted_difference(outcome[control], beside_many, covariates)
    except TooFewOutletsError:
        return Guardrail(label, unit, None, "not_measured", "too few control outlets differ in their neighbours")
    interval = found.interval(multiplier=multiplier)
    harmed = interval.below(0.0)
    note = "the effect counts shoppers who only moved" if harmed else ""
    return Guardrail(label, unit, interval, "harmed" if harmed else "ok", note)


def _exposure(record: Launch, neighbours: Sequence[str]) -> float:
    """Share of treated outlets among those neighbours."""
    return sum(record.arms.get(o) == TREATMENT for o in neighbours) / len(neighbours) if neighbours else 0.0
