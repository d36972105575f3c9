"""The one home of Evidently: HTML reports for people; no gate reads a number from here."""

import re
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from math import floor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from monitoring.drift import ColumnDrift, DriftSummary, DriftThresholds
from monitoring.report_page import dress
from poplift.atomic import write_whole

# Drawing needs no more; the gate's own numbers in monitoring.drift use every row.
MAX_ROWS = 10_000
MAX_BYTES = 5_000_000
SAMPLE_SEED = 7
PSI = "poplift_psi"


class ReportError(RuntimeError):
    """A report could not be drawn; the message says why and what to do."""


def drift_report(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    drift: DriftSummary,
    path: Path,
    seed: int = SAMPLE_SEED,
) -> dict[str, Any]:
    """Draw how each input is distributed now (`current`) and in training (`reference`), as one HTML file.

    Both frames have the numeric columns of `drift`, which was measured on them; infinite values count as missing.
    Scores and what counts as far are those of `drift`, so that picture and verdict say the same of every row.
    Returns {"columns": {name: psi}, "drifted": [names], "expected": [names], "left_out": [names], "rows_reference",
    "rows_current", "sampled"}. Raises ReportError for nothing to draw or a page larger than MAX_BYTES.
    """
    measured = {c.column: c for c in drift.columns}
    drawn = [name for name, column in measured.items() if column.psi is not None]
    old, new = _prepared(reference, drawn, seed), _prepared(current, drawn, seed)
    if not drawn:
        raise ReportError("no column has values in both frames; check that features were built for these weeks")
    evidently = _evidently()
    definition = evidently.DataDefinition(numerical_columns=drawn)
    threshold = DriftThresholds().psi_breach
    evidently.show_scores_of(measured)
    # Evidently counts the share of what it draws, the gate that of what it watches.
    crowd = DriftThresholds().crowd * sum(not column.expected for column in drift.columns) / len(drawn)
    crowd = floor(crowd * 1000 + 1e-6) / 1000  # it prints every digit
    table = evidently.DriftTable(num_method=PSI, num_threshold=threshold, drift_share=crowd)
    snapshot = _run(evidently, [table], old, new, definition)
    result = {
        "columns": {name: measured[name].psi for name in drawn},
        "drifted": [c.column for c in drift.columns if c.state == "breach" and not c.expected],
        "expected": [c.column for c in drift.columns if c.expected],
        "left_out": [name for name in measured if name not in drawn],
        **_sizes(reference, current),
    }
    _save(snapshot, path, title="Have the model's inputs moved?", lines=_drift_lines(result, threshold))
    return result


def performance_report(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    target: str,
    prediction: str,
    path: Path,
    seed: int = SAMPLE_SEED,
) -> dict[str, Any]:
    """Draw errors of the newest outcomes (`current`) beside the evaluation's (`reference`), as one HTML file.

    Both frames have the numeric columns `target` (what happened) and `prediction`; rows where either is
    missing are left out. Returns {"mean_error", "mae", "rmse", "rows_reference", "rows_current", "sampled"} of
    `current`, in the unit of the target. Percentage errors are not drawn: most cells sell nothing.
    Raises ReportError when no row has both.
    """
    pair = [target, prediction]
    old, new = _prepared(reference, pair, seed).dropna(), _prepared(current, pair, seed).dropna()
    if old.empty or new.empty:
        raise ReportError(f"no row has both {target} and {prediction}; the week's outcomes may not be in yet")
    evidently = _evidently()
    definition = evidently.DataDefinition(
        numerical_columns=pair, regression=[evidently.Regression(target=target, prediction=prediction)]
    )
    metrics = [
        evidently.MeanError(error_plot=True, error_distr=True),
        evidently.MAE(error_distr=False),
        evidently.RMSE(error_distr=False),
    ]
    snapshot = _run(evidently, metrics, old, new, definition)
    mean_error, mae, rmse = (_plain(metric["value"]) for metric in snapshot.dict()["metrics"])
    result = {"mean_error": mean_error, "mae": mae, "rmse": rmse, **_sizes(reference, current)}
    _save(snapshot, path, title="Is the model as good as promised?", lines=_performance_lines(result, target))
    return result


@cache
def _evidently() -> SimpleNamespace:
    """Import on first use (about 8 s); the report API sends no telemetry, only its UI and collector do."""
    with warnings.catch_warnings():
        # 0.7.23 imports numpy.core, and litestar for a UI that is not used here; both warn on import.
        warnings.simplefilter("ignore", DeprecationWarning)
        import evidently
        from evidently import metrics
        from evidently.legacy.calculations import stattests
        from evidently.legacy.core import ColumnType
        from evidently.presets import DataDriftPreset

    class DriftTable(DataDriftPreset):  # type: ignore[misc]
        """The preset draws every column once more for a section that it then drops: half of its time."""

        def generate_metrics(self, context: Any) -> list[Any]:
            return list(super().generate_metrics(context))[:1]

    def show_scores_of(measured: Mapping[str, ColumnDrift]) -> None:
        """Make the gate's figures a test of Evidently's; on its own sample it would find others."""

        def score(reference: pd.Series, _current: pd.Series, _kind: Any, _threshold: float) -> tuple[float, bool]:
            column = measured[str(reference.name)]
            return column.psi or 0.0, column.state == "breach" and not column.expected

        test = stattests.StatTest(name=PSI, display_name="PSI", allowed_feature_types=[ColumnType.Numerical])
        stattests.register_stattest(test, default_impl=score)

    return SimpleNamespace(
        Report=evidently.Report,
        Dataset=evidently.Dataset,
        DataDefinition=evidently.DataDefinition,
        Regression=evidently.Regression,
        DriftTable=DriftTable,
        show_scores_of=show_scores_of,
        MeanError=metrics.MeanError,
        MAE=metrics.MAE,
        RMSE=metrics.RMSE,
    )


def _prepared(frame: pd.DataFrame, columns: Sequence[str], seed: int) -> pd.DataFrame:
    chosen = frame.loc[:, list(columns)]
    if len(chosen) > MAX_ROWS:
        rows = np.random.default_rng(seed).choice(len(chosen), size=MAX_ROWS, replace=False)
        chosen = chosen.iloc[np.sort(rows)]  # order kept: Evidently draws the mean along it
    return chosen.astype(np.float64).replace([np.inf, -np.inf], np.nan).reset_index(drop=True)


def _run(
    evidently: SimpleNamespace,
    metrics: list[Any],
    reference: pd.DataFrame,
    current: pd.DataFrame,
    definition: Any,
) -> Any:
    with warnings.catch_warnings():
        # On the way it divides by zero for constant columns and scores bins of one row; nobody reads those figures.
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        # Evidently takes (current, reference), the reverse of everything here.
        return evidently.Report(metrics).run(
            evidently.Dataset.from_pandas(current, data_definition=definition),
            evidently.Dataset.from_pandas(reference, data_definition=definition),
        )


def _plain(value: Any) -> float:
    return float(value["mean"] if isinstance(value, dict) else value)


def _sizes(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, Any]:
    sampled = max(len(reference), len(current)) > MAX_ROWS
    return {"rows_reference": len(reference), "rows_current": len(current), "sampled": sampled}


def _drift_lines(result: dict[str, Any], threshold: float) -> list[str]:
    drifted, expected, left_out = result["drifted"], result["expected"], result["left_out"]
    watched = len({*result["columns"], *left_out} - set(expected))
    told = f"{len(drifted)} of {watched} inputs moved far from training"
    lines = [f"{told}: {', '.join(drifted)}." if drifted else f"{told}."]
    lines.append(f"Score: population stability index. 0 = unchanged, {threshold:g} and more = far.")
    if expected:
        lines.append(f"The calendar moves {', '.join(expected)}: shown, and not counted above.")
    if left_out:
        lines.append(f"Not drawn, because one side has no values: {', '.join(left_out)}.")
    return [*lines, _rows_line(result, old="training", new="current")]


def _performance_lines(result: dict[str, Any], target: str) -> list[str]:
    error, unit = result["mean_error"], re.sub(r"[_\s]+", " ", target)
    return [
        f"On average a prediction is {result['mae']:.2f} {unit} away from what happened.",
        f"In total predictions are too {'high' if error > 0 else 'low'}, by {abs(error):.3f} {unit} per cell.",
        "Current = the newest weeks with known outcomes. Reference = the evaluation behind the promise.",
        _rows_line(result, old="reference", new="current"),
    ]


def _rows_line(result: dict[str, Any], *, old: str, new: str) -> str:
    rows = f"{result['rows_reference']:,} {old} rows, {result['rows_current']:,} {new} rows"
    if not result["sampled"]:
        return f"Drawn from all {rows}."
    return f"Drawn from a fixed random sample of at most {MAX_ROWS:,} rows a side, out of {rows}."


def _save(snapshot: Any, path: Path, *, title: str, lines: list[str]) -> None:
    page = dress(snapshot.get_html_str(as_iframe=False), title=title, lines=lines)
    size = len(page.encode())
    if size > MAX_BYTES:
        raise ReportError(f"{path.name} would be {size:,} bytes, the limit is {MAX_BYTES:,}; draw fewer columns")
    write_whole(path, page)
