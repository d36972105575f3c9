"""Whether the live model is as good as its release promised, once the outcomes are in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from poplift.statistics import bias, poisson_deviance, wape

State = Literal["ok", "warn", "breach"]
OUTCOME_COLUMNS = ("outlet_id", "ppg_id", "week", "transactions", "prediction")


class OutcomeError(ValueError):
    """Performance cannot be measured on these outcomes; the message says which columns or rows are wrong."""


@dataclass(frozen=True)
class Accuracy:
    """The three figures a release promises and the live window is held to."""

    poisson_deviance: float  # mean unit deviance per cell, lower is better
    wape_ppg_week: float  # Σ|error| / Σ actual over ppg × week totals
    bias: float  # Σ prediction / Σ actual − 1


@dataclass(frozen=True)
class PerformanceThresholds:
    """How much worse than promised is worth a look, and how much is too much."""

    deviance_warn: float = 1.10  # times the promise
    deviance_breach: float = 1.25
    wape_warn: float = 1.15  # times the promise
    wape_breach: float = 1.50
    bias_warn: float = 0.10  # absolute distance from the promise
    bias_breach: float = 0.25
    minimum_rows: int = 500


@dataclass(frozen=True)
class Performance:
    """Live against promised over a window of weeks."""

    live: Accuracy
    promised: Accuracy
    rows: int
    weeks: tuple[int, ...]
    grades: Mapping[str, State]  # per field of Accuracy
    state: State
    reasons: tuple[str, ...]


def measure_accuracy(outcomes: pd.DataFrame) -> Accuracy:
    """Accuracy of rows (outlet_id, ppg_id, week, transactions, prediction), one per outlet × ppg × week.

    Raises OutcomeError for missing columns, no rows, missing values, negative counts, predictions that are
    not positive, or a window without any sale, where neither WAPE nor bias is defined.
    """
    actual, predicted = _checked(outcomes)
    return Accuracy(
        poisson_deviance=float(poisson_deviance(actual, predicted).mean()),
        wape_ppg_week=wape(outcomes, predicted, by=("ppg_id", "week")),
        bias=bias(actual, predicted),
    )


def compare_with_promise(
    outcomes: pd.DataFrame, *, promised: Accuracy, thresholds: PerformanceThresholds | None = None
) -> Performance:
    """Hold the window against the release's promise; raises OutcomeError, also for fewer than minimum_rows."""
    limits = thresholds or PerformanceThresholds()
    live = measure_accuracy(outcomes)
    if not (promised.poisson_deviance > 0 and promised.wape_ppg_week > 0):
        raise OutcomeError(f"the promise {promised} is not one: deviance and WAPE must be positive")
    if len(outcomes) < limits.minimum_rows:
        raise OutcomeError(f"{len(outcomes)} outcomes are in, a judgement needs at least {limits.minimum_rows}")
    found: dict[str, tuple[State, str]] = {
        "poisson_deviance": _grade(
            f"Poisson deviance is {live.poisson_deviance:.3f}, promised {promised.poisson_deviance:.3f}",
            live.poisson_deviance / promised.poisson_deviance,
            limits.deviance_warn,
            limits.deviance_breach,
        ),
        "wape_ppg_week": _grade(
            f"WAPE at ppg × week is {live.wape_ppg_week:.1%}, promised {promised.wape_ppg_week:.1%}",
            live.wape_ppg_week / promised.wape_ppg_week,
            limits.wape_warn,
            limits.wape_breach,
        ),
        "bias": _grade(
            f"predictions are {live.bias:+.1%} off in total, promised {promised.bias:+.1%}",
            abs(live.bias - promised.bias),
            limits.bias_warn,
            limits.bias_breach,
        ),
    }
    grades = {name: grade for name, (grade, _) in found.items()}
    state: State = "breach" if "breach" in grades.values() else "warn" if "warn" in grades.values() else "ok"
    weeks = tuple(int(week) for week in sorted(outcomes["week"].unique()))
    reasons = tuple(text for grade, text in found.values() if grade != "ok")
    return Performance(live, promised, len(outcomes), weeks, grades, state, reasons)


def _checked(outcomes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    absent = [c for c in OUTCOME_COLUMNS if c not in outcomes.columns]
    if absent:
        raise OutcomeError(f"the outcomes lack {', '.join(absent)}")
    if outcomes.empty:
        raise OutcomeError("there are no outcomes yet; wait for the week's sales or widen the window")
    actual = outcomes["transactions"].to_numpy(dtype=np.float64, na_value=np.nan)
    predicted = outcomes["prediction"].to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = int((~(np.isfinite(actual) & (actual >= 0)) | ~(np.isfinite(predicted) & (predicted > 0))).sum())
    if wrong:
        raise OutcomeError(
            f"{wrong} of {len(outcomes)} outcomes have a missing or negative count or a prediction that is "
            "not positive; join predictions to sales again"
        )
    if actual.sum() == 0:
        raise OutcomeError("nothing sold in the whole window; check that the week's sales were ingested")
    return actual, predicted


def _grade(text: str, distance: float, warn: float, breach: float) -> tuple[State, str]:
    if distance > breach:
        return "breach", text
    return ("warn" if distance > warn else "ok"), text
