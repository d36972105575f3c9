"""The table of one view: a folder of immutable Parquet files, each with the row versions of one instant."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import duckdb

STORE = ".versions"


@dataclass(frozen=True)
class State:
    """What a table was made of: code, lake parts, and the instant up to which all that was known is in it.

    `through` is None while nothing was written, `builds` are the instants at which a build ended, and `weeks` the
    range whose every decision instant was replayed.
    """

    folder: str
    code: str
    parts: tuple[str, ...]
    through: datetime | None = None
    builds: tuple[datetime, ...] = ()
    weeks: tuple[int, int] | None = None


def table_path(features_dir: Path, view: str) -> Path:
    """The folder of a view's row versions, all files in it of one making."""
    return features_dir / view


class Table:
    """One view's table; `grow` adds versions that readers see file by file, `publish` puts a new making in place."""

    def __init__(self, features_dir: Path, view: str, keys: Sequence[str], features: Sequence[str]) -> None:
        self._root = features_dir
        self._view = view
        self._keys = (*keys, "event_timestamp")
        self._features = tuple(features)
        self._store = features_dir / STORE

    @property
    def current(self) -> State | None:
        """State of the table that readers see; None when there is none."""
        state = _read(self._store / f"{self._view}.json")
        link = table_path(self._root, self._view)
        return state if state and link.is_symlink() and link.readlink().name == state.folder else None

    @property
    def pending(self) -> State | None:
        """State of a new making that no reader sees yet."""
        return _read(self._store / f"{self._view}.next.json")

    def begin(self, *, code: str, parts: Sequence[str], weeks: tuple[int, int] | None) -> State:
        """Start a new, empty making; builds of the one before are replayed in it."""
        before = self.current
        state = State(
            folder=f"{self._view}-{uuid4().hex[:12]}",
            code=code,
            parts=tuple(parts),
            builds=before.builds if before else (),
            weeks=weeks,
        )
        (self._store / state.folder).mkdir(parents=True)
        _write(self._store / f"{self._view}.next.json", state)
        self._sweep()
        return state

    def grow(
        self,
        state: State,
        query: str | None,
        *,
        instant: datetime,
        connection: duckdb.DuckDBPyConnection,
        is_pending: bool,
    ) -> State:
        """Append the rows of `query` that the table does not have with these values as known at `instant`.

        A key seen for the first time keeps the created time that its view declares, unless an earlier instant of
        this table should have seen it; every other difference became known at `instant`. No query: nothing was known.
        """
        if query is not None:
            self._append(query, self._store / state.folder, state.through, instant, connection)
        grown = replace(state, through=instant)
        _write(self._store / f"{self._view}{'.next' if is_pending else ''}.json", grown)
        return grown

    def publish(self, state: State, *, parts: Sequence[str], as_of: datetime, is_pending: bool) -> None:
        """Record that a build ended at `as_of`; a new making takes the place of the old one in one rename."""
        ended = replace(state, parts=tuple(parts), builds=tuple(sorted({*state.builds, as_of})))
        if not is_pending:
            _write(self._store / f"{self._view}.json", ended)
            return
        target = table_path(self._root, self._view)
        link = self._store / f".{uuid4().hex}.link"
        link.symlink_to(Path(STORE) / state.folder)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)  # a table of the time before versions
        link.replace(target)
        _write(self._store / f"{self._view}.json", ended)
        (self._store / f"{self._view}.next.json").unlink(missing_ok=True)

    def rows(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Number of row versions that readers see."""
        files = f"{table_path(self._root, self._view)}/*.parquet"
        (count,) = connection.execute("SELECT count(*) FROM read_parquet(?)", [files]).fetchone() or (0,)
        return int(count)

    def _append(
        self,
        query: str,
        folder: Path,
        before: datetime | None,
        instant: datetime,
        connection: duckdb.DuckDBPyConnection,
    ) -> None:
        partial = self._store / f".{uuid4().hex}.partial"
        (rows,) = connection.execute(
            f"COPY ({self._changed(query, folder, before, instant)}) TO '{partial}' (FORMAT parquet)"
        ).fetchone() or (0,)
        if rows:
            partial.replace(folder / f"{instant:%Y%m%dT%H%M%S%f}-{uuid4().hex[:6]}.parquet")
        else:
            partial.unlink()

    def _changed(self, query: str, folder: Path, before: datetime | None, instant: datetime) -> str:
        at = _literal(instant)
        # A row that an earlier instant should have shown and did not: something that came late brought it.
        is_late = "false" if before is None else f"made.created_timestamp <= {_literal(before)}"
        files = ", ".join(f"'{f}'" for f in sorted(folder.glob("*.parquet")))
        order = ", ".join(f'made."{c}"' for c in ("event_timestamp", *self._keys[:-1]))
        if not files:
            created = f"CASE WHEN {is_late} THEN {at} ELSE made.created_timestamp END"
            return f"SELECT made.* REPLACE ({created} AS created_timestamp) FROM ({query}) AS made ORDER BY {order}"
        keys = ", ".join(f'"{k}"' for k in self._keys)
        same = " AND ".join(f'made."{k}" = known."{k}"' for k in self._keys)
        differs = " OR ".join(f'made."{f}" IS DISTINCT FROM known."{f}"' for f in self._features)
        known = (
            f"SELECT * FROM read_parquet([{files}]) WHERE created_timestamp <= {at} "
            f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY created_timestamp DESC) = 1"
        )
        is_new = "known.event_timestamp IS NULL"
        created = f"CASE WHEN {is_new} AND NOT ({is_late}) THEN made.created_timestamp ELSE {at} END"
        return (
            f"SELECT made.* REPLACE ({created} AS created_timestamp) FROM ({query}) AS made "
            f"LEFT JOIN ({known}) AS known ON {same} WHERE {is_new} OR {differs} ORDER BY {order}"
        )

    def _sweep(self) -> None:
        """Remove makings that are neither read, nor may be read still, nor in the making."""
        kept = {s.folder for s in (self.current, self.pending) if s}
        for folder in self._store.glob(f"{self._view}-*"):
            if folder.is_dir() and folder.name not in kept:
                shutil.rmtree(folder)


def _read(path: Path) -> State | None:
    if not path.exists():
        return None
    stored = json.loads(path.read_text())
    stored["through"] = datetime.fromisoformat(stored["through"]) if stored["through"] else None
    stored["builds"] = tuple(datetime.fromisoformat(b) for b in stored["builds"])
    stored["parts"] = tuple(stored["parts"])
    stored["weeks"] = tuple(stored["weeks"]) if stored["weeks"] else None
    return State(**stored)


def _write(path: Path, state: State) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(state), default=lambda value: value.isoformat()))
    partial.replace(path)


def _literal(instant: datetime) -> str:
    return f"TIMESTAMPTZ '{instant.isoformat()}'"
