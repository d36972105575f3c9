"""Make the table of one view anew, week by week, each as known when its decision fell; a run that died goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock

from feature_repo.build import grow_tables, table_path
from feature_repo.catalog import BUILT, View
from feature_repo.knowledge import decision_instants
from feature_repo.versions import Table
from poplift.lake import Lake


class BackfillError(Exception):
    """What was asked for cannot be filled; the message says why and what can."""


@dataclass(frozen=True)
class Backfilled:
    """What a backfill left: row versions, and how many are new or gone against the table before.

    `added` and `gone` are None where there was no table with these columns to compare with.
    """

    view: str
    weeks: tuple[int, int]
    rows: int
    added: int | None
    gone: int | None


def backfill(
    lake: Lake,
    *,
    view: str,
    weeks: tuple[int, int],
    features_dir: Path,
    as_of: datetime,
    progress: Callable[[str], None] = lambda _: None,
) -> Backfilled:
    """Compute `view` as of the decision instant of every week of the range, first and last included, and at `as_of`.

    Rows of other weeks are made as a build makes them. Readers see the table of before until the new one is whole.
    The same question after a kill goes on behind the last finished week. Raises BackfillError, LakeError or
    EmptyWeekError.
    """
    wanted = _view(view)
    _check(lake, weeks, as_of)
    features_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(features_dir / ".lock"):
        _refuse_to_forget(features_dir, wanted, as_of)
        before = table_path(features_dir, view).resolve()
        rows = grow_tables(lake, [wanted], features_dir=features_dir, as_of=as_of, progress=progress, weeks=weeks)
        added, gone = _difference(lake, wanted, before, table_path(features_dir, view).resolve())
    return Backfilled(view, weeks, rows[view], added, gone)


def _view(name: str) -> View:
    known = {view.name: view for view in BUILT}
    if name not in known:
        raise BackfillError(f"{name} is no view of the catalog; choose one of: {', '.join(known)}")
    return known[name]


def _check(lake: Lake, weeks: tuple[int, int], as_of: datetime) -> None:
    landed = decision_instants(lake, as_of=as_of)
    missing = [week for week in range(weeks[0], weeks[1] + 1) if week not in landed]
    if weeks[0] > weeks[1] or missing:
        span = f"{min(landed)} to {max(landed)}" if landed else "none"
        raise BackfillError(
            f"weeks {weeks[0]} to {weeks[1]} cannot be filled: the weeks whose sales have landed by "
            f"{as_of:%Y-%m-%d} are {span}"
        )


def _refuse_to_forget(features_dir: Path, view: View, as_of: datetime) -> None:
    state = Table(features_dir, view.name, view.entities, _names(view)).current
    if state and state.through and state.through > as_of:
        raise BackfillError(
            f"the table of {view.name} holds what was known until {state.through:%Y-%m-%dT%H:%M:%SZ}, after "
            f"{as_of:%Y-%m-%dT%H:%M:%SZ}: move POPLIFT_BUSINESS_TIME forward, or take another POPLIFT_HOME"
        )


def _difference(lake: Lake, view: View, before: Path, after: Path) -> tuple[int | None, int | None]:
    """Row versions that only the new table has, and that only the old one had."""
    if not list(before.glob("*.parquet")):
        return None, None
    old, new = (f"read_parquet('{folder}/*.parquet', union_by_name = true)" for folder in (before, after))
    names = ", ".join(f'"{c}"' for c in (*view.entities, "event_timestamp", "created_timestamp", *_names(view)))
    here = {str(row[0]) for row in lake.connection.execute(f"DESCRIBE FROM {old}").fetchall()}
    if not set(_names(view)) <= here:
        return None, None

    def only(one: str, other: str) -> int:
        query = f"SELECT count(*) FROM (SELECT {names} FROM {one} EXCEPT ALL SELECT {names} FROM {other})"
        (count,) = lake.connection.execute(query).fetchone() or (0,)
        return int(count)

    return only(new, old), only(old, new)


def _names(view: View) -> tuple[str, ...]:
    return tuple(feature.name for feature in view.features)
