"""Which inputs of the model have moved since training, and whether too many: the gate's own numbers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from monitoring.distance import (
    Floats,
    bin_counts,
    category_counts,
    chi_square,
    jensen_shannon,
    kolmogorov_smirnov,
    population_stability_index,
)

State = Literal["ok", "warn", "breach"]
_SEVERITY: dict[State, int] = {"ok": 0, "warn": 1, "breach": 2}


class DriftInputError(ValueError):
    """Drift cannot be measured on these frames; the message names the frame, the columns or the row count."""


@dataclass(frozen=True)
class DriftThresholds:
    """From which distance on a column has moved, and how many moved columns are too many."""

    psi_warn: float = 0.10  # the customary reading of PSI: below .1 stable, above .25 another population
    psi_breach: float = 0.25
    ks_warn: float = 0.10
    ks_breach: float = 0.25
    js_warn: float = 0.10
    js_breach: float = 0.25
    missing_warn: float = 0.05  # change of the share of missing values
    missing_breach: float = 0.20
    crowd: float = 0.20  # share of watched columns: so many far ones breach, so many near ones warn
    minimum_rows: int = 500  # ten bins of fewer rows show a PSI near .02 by chance alone


@dataclass(frozen=True)
class ColumnDrift:
    """Distances of one column; a distance is None where it does not apply or one side has no values."""

    column: str
    kind: Literal["numeric", "categorical"]
    psi: float | None
    ks: float | None
    js: float | None
    chi2_p: float | None
    missing_reference: float
    missing_current: float
    expected: bool  # moves by the calendar: shown, but never decides
    state: State
    why: str


@dataclass(frozen=True)
class DriftSummary:
    """All columns, furthest first, and what they mean together."""

    columns: tuple[ColumnDrift, ...]
    rows_reference: int
    rows_current: int
    state: State
    reasons: tuple[str, ...]

    @property
    def moved(self) -> tuple[ColumnDrift, ...]:
        """Columns beyond a threshold that are not expected to move."""
        return tuple(c for c in self.columns if c.state != "ok" and not c.expected)


def measure_drift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    columns: Sequence[str],
    expected: Collection[str] = (),
    thresholds: DriftThresholds | None = None,
) -> DriftSummary:
    """Compare the training rows (`reference`) with the newest rows (`current`), column by column.

    `expected` names columns that the calendar moves (season, week number): they are shown but do not decide.
    Infinite values count as missing. Raises DriftInputError for no columns, missing columns or too few rows.
    """
    limits = thresholds or DriftThresholds()
    _check_frames(reference, current, columns, expected, limits)
    measured = [_measure_column(reference[c], current[c], c in expected, limits) for c in columns]
    measured.sort(key=lambda c: (-_SEVERITY[c.state], -(c.psi or 0.0), c.column))
    state, reasons = _judge(measured, limits)
    return DriftSummary(tuple(measured), len(reference), len(current), state, reasons)


def _check_frames(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    columns: Sequence[str],
    expected: Collection[str],
    limits: DriftThresholds,
) -> None:
    if not set(columns) - set(expected):
        raise DriftInputError("drift was asked to watch no columns; name at least one that the calendar does not move")
    for name, frame in (("reference", reference), ("current", current)):
        absent = [c for c in columns if c not in frame.columns]
        if absent:
            raise DriftInputError(f"the {name} frame lacks {', '.join(absent)}; rebuild it from the feature store")
        if len(frame) < limits.minimum_rows:
            raise DriftInputError(f"the {name} frame has {len(frame)} rows, drift needs at least {limits.minimum_rows}")


def _measure_column(reference: pd.Series, current: pd.Series, expected: bool, limits: DriftThresholds) -> ColumnDrift:
    numeric = all(pd.api.types.is_numeric_dtype(s) and not pd.api.types.is_bool_dtype(s) for s in (reference, current))
    psi = ks = js = chi2_p = None
    if numeric:
        old, new = _finite(reference), _finite(current)
        if len(old) and len(new):
            psi = population_stability_index(*bin_counts(old, new))
            ks = kolmogorov_smirnov(old, new)
    else:
        old, new = category_counts(reference.value_counts().to_dict(), current.value_counts().to_dict())
        if old.sum() and new.sum():
            psi, js, chi2_p = (
                population_stability_index(old, new),
                jensen_shannon(old, new),
                chi_square(old, new)[1],
            )
    missing_old, missing_new = _missing_share(reference, numeric), _missing_share(current, numeric)
    state, why = _judge_column({"PSI": psi, "KS": ks, "Jensen–Shannon": js}, missing_old, missing_new, limits)
    kind: Literal["numeric", "categorical"] = "numeric" if numeric else "categorical"
    return ColumnDrift(str(reference.name), kind, psi, ks, js, chi2_p, missing_old, missing_new, expected, state, why)


def _finite(values: pd.Series) -> Floats:
    array: Floats = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return array[np.isfinite(array)]


def _missing_share(values: pd.Series, numeric: bool) -> float:
    return 1 - len(_finite(values)) / len(values) if numeric else float(values.isna().mean())


def _judge_column(
    distances: Mapping[str, float | None], missing_old: float, missing_new: float, limits: DriftThresholds
) -> tuple[State, str]:
    bounds = {
        "PSI": (limits.psi_warn, limits.psi_breach),
        "KS": (limits.ks_warn, limits.ks_breach),
        "Jensen–Shannon": (limits.js_warn, limits.js_breach),
    }
    found = [(_grade(value, *bounds[name]), f"{name} {value or 0:.2f}") for name, value in distances.items()]
    change = _grade(abs(missing_new - missing_old), limits.missing_warn, limits.missing_breach)
    found.append((change, f"missing {missing_old:.0%} → {missing_new:.0%}"))
    worst = max((state for state, _ in found), key=_SEVERITY.__getitem__)
    return worst, "" if worst == "ok" else ", ".join(text for state, text in found if state == worst)


def _grade(value: float | None, warn: float, breach: float) -> State:
    if value is None or value < warn:
        return "ok"
    return "breach" if value >= breach else "warn"


def _judge(measured: Sequence[ColumnDrift], limits: DriftThresholds) -> tuple[State, tuple[str, ...]]:
    watched = [c for c in measured if not c.expected]
    far = [c for c in watched if c.state == "breach"]
    near = [c for c in watched if c.state == "warn"]
    # A single near column is noise; nobody should be called for it.
    if not far and len(near) / len(watched) < limits.crowd:
        return "ok", ()
    shown = (far or near)[:3]
    names = "; ".join(f"{c.column} ({c.why})" for c in shown)
    more = " and more" if len(far or near) > len(shown) else ""
    moved = f"{len(far)} of {len(watched)} inputs moved far from training" if far else ""
    drifted = f"{len(near)} of {len(watched)} inputs moved a little from training" if not far else ""
    state: State = "breach" if len(far) / len(watched) >= limits.crowd else "warn"
    return state, (f"{moved or drifted}: {names}{more}",)
