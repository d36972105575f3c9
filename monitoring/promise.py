"""Whether a release keeps its promise on the decisions it served, at the predictions it gave there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitoring.outcomes import JUDGED
from monitoring.verdict import Figure, Finding, Status
from poplift.statistics import Interval, Statistic, block_bootstrap, poisson_deviance

Floats = NDArray[np.float64]
State = Literal["ok", "warn", "breach", "waiting"]

CLASSES = 10
LEAST_ROWS, LEAST_WEEKS, LEAST_OUTLETS = 200, 2, 10
MOST_DEVIANCE = 0.10  # rise of the deviance against the promise
MOST_BIAS = 0.10  # of the total, on either side of the promise
MOST_UNCOVERED = 0.10  # of the cells, less than promised within the 80 % interval
RUNBOOK = "docs/runbooks/promise-broken.md"


@dataclass(frozen=True)
class Promise:
    """What a release did on the weeks held out when it was trained, by class of predicted transactions.

    Decisions are asked for where much is sold, and a deviance grows with the mean: held against the average over all
    cells, every release would seem to break its promise. So each served cell is held against its own class (direct
    standardisation, Fleiss, Levin and Paik 2003, chapter 19).
    """

    edges: Floats
    deviance: Floats
    sold_per_predicted: Floats
    covered: Floats

    def classes(self, prediction: Floats) -> NDArray[np.intp]:
        """Place of each prediction among the classes."""
        return np.searchsorted(self.edges, prediction, side="right")


@dataclass(frozen=True)
class Kept:
    """How one release did on its decisions; intervals are of the difference to the promise, and None while waiting."""

    release_id: str
    decisions: int
    judged: int
    weeks: tuple[int, ...]
    followed: int  # judged decisions whose recommendation is what ran
    not_judged: dict[str, int]
    deviance: float | None
    bias: float | None
    covered: float | None
    promised_deviance: float | None
    deviance_change: Interval | None
    bias_change: Interval | None
    covered_change: Interval | None
    state: State
    reasons: tuple[str, ...]


def promise(held_out: pd.DataFrame, *, classes: int = CLASSES) -> Promise:
    """The promise of a release from its forecasts of held-out cells: transactions, prediction, low, high."""
    predicted, sold, covered = _numbers(held_out)
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, classes + 1)[1:-1]))
    place = np.searchsorted(edges, predicted, side="right")
    count = np.bincount(place, minlength=len(edges) + 1).astype(np.float64)

    def mean(values: Floats) -> Floats:
        sums = np.bincount(place, weights=values, minlength=len(edges) + 1)
        return np.where(count > 0, sums / np.maximum(count, 1), values.mean())

    return Promise(edges, mean(poisson_deviance(sold, predicted)), mean(sold) / mean(predicted), mean(covered))


def keep(outcomes: pd.DataFrame, *, release_id: str, promised: Promise | None, seed: int) -> Kept:
    """Judge the decisions of one release; without a promise, or before there is enough, the state is `waiting`."""
    own = outcomes[outcomes["release_id"] == release_id]
    cells = own[own["state"] == JUDGED]
    counts = {str(state): int(count) for state, count in own["state"].value_counts().items() if state != JUDGED}
    weeks = tuple(int(week) for week in sorted(cells["week"].unique()))
    predicted, sold, covered = _numbers(cells)
    total = float(sold.sum())
    waits = _waits(cells, promised)
    changes = None if waits or promised is None else _changes(cells, promised, seed=seed)
    state, reasons = ("waiting", (waits,)) if changes is None else _judge(release_id, changes)
    return Kept(
        release_id=release_id,
        decisions=len(own),
        judged=len(cells),
        weeks=weeks,
        followed=int(cells["was_followed"].sum()),
        not_judged=dict(sorted(counts.items())),
        deviance=float(poisson_deviance(sold, predicted).mean()) if weeks else None,
        bias=float(predicted.sum() / total - 1.0) if total else None,
        covered=float(covered.mean()) if weeks else None,
        promised_deviance=float(promised.deviance[promised.classes(predicted)].mean()) if promised and weeks else None,
        deviance_change=changes[0] if changes else None,
        bias_change=changes[1] if changes else None,
        covered_change=changes[2] if changes else None,
        state=state,
        reasons=reasons,
    )


def as_finding(kept: Sequence[Kept], *, served: str) -> Finding:
    """What the decisions of all releases mean for the verdict: only the release that serves now can be acted on."""
    now = next((k for k in kept if k.release_id == served), None)
    key, label = "promise_on_decisions", "Deviance of served decisions"
    if now is None or now.deviance_change is None:
        why = now.reasons[0] if now else "no decided week of this release is known yet"
        return Finding("ok", (), Figure(key, label, None, "–", why, "ok"))
    change = now.deviance_change
    text = f"{change.estimate:+.0%} to promise"
    compare = f"{change.low:+.0%} to {change.high:+.0%}; {now.judged:,} decisions, {len(now.weeks)} weeks"
    status: Status = "ok" if now.state == "waiting" else now.state
    return Finding(status, now.reasons, Figure(key, label, change.estimate, text, compare, status))


def _waits(cells: pd.DataFrame, promised: Promise | None) -> str:
    if promised is None:
        return "the release is not on disk any more, so its promise is not known"
    outlets, weeks = cells["outlet_id"].nunique(), cells["week"].nunique()
    if len(cells) < LEAST_ROWS or weeks < LEAST_WEEKS or outlets < LEAST_OUTLETS:
        return (
            f"{len(cells)} judged decisions of {outlets} outlets in {weeks} weeks; "
            f"at least {LEAST_ROWS}, {LEAST_OUTLETS} and {LEAST_WEEKS} are needed"
        )
    return "" if cells["transactions"].sum() > 0 else "nothing was sold where decisions were served"


def _changes(cells: pd.DataFrame, promised: Promise, *, seed: int) -> tuple[Interval, Interval, Interval]:
    """Deviance against promise (relative), bias minus promise, share covered minus promise."""
    predicted, sold, covered = _numbers(cells)
    place = promised.classes(predicted)
    expected = predicted * promised.sold_per_predicted[place]
    one = np.ones(len(cells))

    def settled(columns: Sequence[Floats], statistic: Statistic) -> Interval:
        return block_bootstrap(
            np.column_stack(columns),
            outlet=cells["outlet_id"].to_numpy(),
            week=cells["week"].to_numpy(),
            statistic=statistic,
            seed=seed,
        )

    return (
        settled(
            (poisson_deviance(sold, predicted), promised.deviance[place]), lambda s: _ratio(s[..., 0], s[..., 1]) - 1.0
        ),
        settled((predicted, sold, expected), lambda s: _ratio(s[..., 0], s[..., 1]) - _ratio(s[..., 0], s[..., 2])),
        settled((covered - promised.covered[place], one), lambda s: _ratio(s[..., 0], s[..., 1])),
    )


def _judge(release_id: str, changes: tuple[Interval, Interval, Interval]) -> tuple[State, tuple[str, ...]]:
    deviance, off, covered = changes
    found: list[tuple[State, str]] = []
    for name, change, worse, limit in (
        ("Poisson deviance", deviance, deviance, MOST_DEVIANCE),
        ("forecasts in total", off, off, MOST_BIAS),
        ("forecasts in total", off, _mirrored(off), MOST_BIAS),
        ("share within the 80 % interval", covered, _mirrored(covered), MOST_UNCOVERED),
    ):
        said = (
            f"Decisions of release {release_id}: {name} {change.estimate:+.1%} against the promise "
            f"({change.low:+.1%} to {change.high:+.1%})"
        )
        if worse.above(limit):
            found.append(("breach", f"{said}, more than {limit:.0%} ({RUNBOOK})."))
        elif worse.estimate > limit:
            found.append(("warn", f"{said}, not yet sure ({RUNBOOK})."))
    grades = {grade for grade, _ in found}
    state: State = "breach" if "breach" in grades else "warn" if "warn" in grades else "ok"
    return state, tuple(text for _, text in found)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """NaN where a draw of outlets and weeks sold nothing."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _mirrored(change: Interval) -> Interval:
    return Interval(-change.estimate, -change.high, -change.low, change.level)


def _numbers(cells: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    predicted, sold, low, high = (
        cells[name].to_numpy(dtype=np.float64) for name in ("prediction", "transactions", "low", "high")
    )
    return predicted, sold, ((sold >= low) & (sold <= high)).astype(np.float64)  # bounds of counts, both included
