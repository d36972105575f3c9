"""The story of a monitoring run: measure, judge, draw, and leave pages that say what to do."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from monitoring.drift import DriftSummary, measure_drift
from monitoring.evidently_reports import drift_report, performance_report
from monitoring.freshness import AgedView, FreshnessRow, Store, freshness
from monitoring.index_page import Link, write_index
from monitoring.performance import Accuracy, Performance, compare_with_promise
from monitoring.promise import Kept, as_finding
from monitoring.skew import SkewSummary
from monitoring.verdict import Finding, Verdict, judge
from poplift.atomic import write_whole
from poplift.clock import wall_now

# The calendar moves these between any two seasons; they are shown and never decide.
MOVED_BY_CALENDAR = frozenset({"weeks_to_holiday", "weeks_since_holiday"})
DRIFT = Link("Have the inputs moved?", "drift.html", "Distribution of every model input, training against now.")
PERFORMANCE = Link("As good as promised?", "performance.html", "Errors of the newest weeks beside the evaluation's.")
FIGURES = Link("All figures", "monitoring.json", "The same verdict for machines, with every column's distances.")

Newest = Mapping[str, datetime | None]
T = TypeVar("T")


class MissingInputError(ValueError):
    """A check was asked for without what it measures; the message names it."""


def check(
    *,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    columns: Sequence[str],
    evaluation: pd.DataFrame | None,
    outcomes: pd.DataFrame | None,
    promised: Accuracy | None,
    views: Sequence[AgedView],
    newest_offline: Newest | None,
    newest_online: Newest | None,
    skew: Callable[[], SkewSummary],
    reports_dir: Path,
    as_of: datetime,
    progress: Callable[[str], None],
    expected: Collection[str] = MOVED_BY_CALENDAR,
    links: Sequence[Link] = (),
    further: Mapping[str, Callable[[], Finding]] | None = None,
    brought: Callable[[], Sequence[Kept]] = tuple,
    served: str = "",
) -> Verdict:
    """Write drift.html, performance.html, monitoring.json and index.html to `reports_dir`; return the verdict.

    `reference` are the training rows and `current` the newest rows, both with the model's `columns`.
    `evaluation` and `outcomes` have one row per outlet × ppg × week with `transactions` and `prediction`: those
    the release was `promised` on, and the newest. `newest_*` map view to newest event time. None stands for an
    input that could not be had. `skew` recomputes what was served. `links` are further reports to list, `further` more
    checks by name. `brought` judges the decisions of every release by their outcomes, `served` is the one that answers.

    Never raises for a failing check: that makes the verdict "unknown", which holds promotions. An old page of a
    failed check is removed, so that nobody reads last week's as this week's.
    """
    run = _Attempts(progress)
    drift = run("Drift check", lambda: measure_drift(reference, current, columns=columns, expected=expected))
    offline = run("Offline freshness check", lambda: _ages(views, newest_offline, "offline", as_of))
    online = run("Online freshness check", lambda: _ages(views, newest_online, "online", as_of))
    ages = (offline or ()) + (online or ())
    performance = run("Performance check", lambda: _performance(outcomes, promised))
    skewed = run("Skew check", skew)
    run.page("Drift page", reports_dir / DRIFT.href, lambda p: _drift_page(reference, current, drift, p))
    run.page("Performance page", reports_dir / PERFORMANCE.href, lambda p: _performance_page(evaluation, outcomes, p))
    kept = run("Outcome check", brought) or ()
    found = [*(run(name, step) for name, step in (further or {}).items()), as_finding(kept, served=served)]
    findings = [finding for finding in found if finding is not None]
    verdict = judge(
        drift=drift, freshness=ages, performance=performance, skew=skewed, failures=run.failures, further=findings
    )
    progress(f"Verdict: {verdict.status}")
    times = {"as_of": as_of, "written_at": wall_now()}
    measured = {"freshness": ages, "drift": drift, "performance": performance, "skew": skewed, "decisions": kept}
    _write_figures(reports_dir / FIGURES.href, verdict, {**times, **measured})
    listed = (*links, PERFORMANCE, DRIFT, FIGURES)
    write_index(reports_dir, verdict=verdict, freshness=ages, links=listed, drift=drift, kept=kept, **times)
    return verdict


class _Attempts:
    """Runs steps one by one; what breaks is kept as a failure of that name instead of ending the run."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self.failures: dict[str, str] = {}
        self._progress = progress

    def __call__(self, name: str, step: Callable[[], T]) -> T | None:
        self._progress(name)
        try:
            return step()
        except Exception as error:  # noqa: BLE001 - whatever breaks, the verdict must say so and not vanish
            ours = type(error).__module__.startswith("monitoring.")
            self.failures[name] = str(error) if ours else f"{type(error).__name__}: {error}"
            return None

    def page(self, name: str, path: Path, draw: Callable[[Path], Any]) -> None:
        """Draw a page, or remove the one of an earlier run: it would be read as this one's."""
        if self(name, lambda: draw(path)) is None:
            path.unlink(missing_ok=True)


def _ages(views: Sequence[AgedView], newest: Newest | None, store: Store, as_of: datetime) -> tuple[FreshnessRow, ...]:
    if newest is None:
        raise MissingInputError(f"the {store} store was not read")
    return freshness(views, newest=newest, store=store, as_of=as_of)


def _drift_page(reference: pd.DataFrame, current: pd.DataFrame, drift: DriftSummary | None, path: Path) -> Any:
    if drift is None:
        raise MissingInputError("drift was not measured")
    return drift_report(reference, current, drift=drift, path=path)


def _performance(outcomes: pd.DataFrame | None, promised: Accuracy | None) -> Performance:
    if outcomes is None:
        raise MissingInputError("there are no outcomes yet")
    if promised is None:
        raise MissingInputError("the release carries no promise")
    return compare_with_promise(outcomes, promised=promised)


def _performance_page(evaluation: pd.DataFrame | None, outcomes: pd.DataFrame | None, path: Path) -> dict[str, Any]:
    if evaluation is None or outcomes is None:
        raise MissingInputError(f"there are no {'evaluation rows' if evaluation is None else 'outcomes'}")
    return performance_report(evaluation, outcomes, target="transactions", prediction="prediction", path=path)


def _write_figures(path: Path, verdict: Verdict, measured: Mapping[str, Any]) -> None:
    figures = {"holds_promotion": verdict.holds, **vars(verdict), **measured}
    write_whole(path, json.dumps(figures, indent=1, default=_plain, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """Records as their fields, times as ISO 8601, ages in days."""
    if is_dataclass(value):
        return vars(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value / timedelta(days=1)
    raise TypeError(f"{type(value).__name__} has no place in {FIGURES.href}")
