"""Reads serialised values out of SQLite: one statement per view, on connections of its own that cannot write."""

import sqlite3
import threading
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.online.layout import SQLITE_EVENT_US, SQLITE_FEAST_EVENT_US, SQLITE_OWN_COLUMNS, table_name
from feature_repo.online.plan import PlannedView, ReadPlan
from feature_repo.online.reader import RawView, Stored, gather

# SQLite takes 32,766 variables in a statement.
_MOST_KEYS = 10_000
_WAIT_SECONDS = 5
_MAPPED_BYTES = 1 << 30


class SqliteValues:
    """The values in one file; each thread has a connection of its own. FileNotFoundError where there is no file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = threading.local()

    def fetch(
        self,
        plan: ReadPlan,
        keys: Sequence[Sequence[bytes]],
        *,
        unless: bytes | None = None,  # noqa: ARG002 - every row is needed to tell
    ) -> Stored:
        """Every view of the plan, in order, whatever it held earlier; errors of sqlite3 pass through."""
        connection = self._connection()
        asked = {place: group for lookup, group in zip(plan.lookups, keys, strict=True) for place in lookup.views}
        return Stored(
            [_view(connection, _table(connection, plan, view), view, asked[p]) for p, view in enumerate(plan.views)]
        )

    def _connection(self) -> sqlite3.Connection:
        file = self._path.stat()
        if getattr(self._own, "file", None) != (file.st_dev, file.st_ino):
            # The first read of this thread, or the file was removed and made again.
            self._own.connection = _open(self._path)
            self._own.file = (file.st_dev, file.st_ino)
        connection: sqlite3.Connection = self._own.connection
        return connection


def _open(path: Path) -> sqlite3.Connection:
    # Not mode=ro: a reader of a write-ahead log may have to make the file that is shared with writers.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=_WAIT_SECONDS
    )
    connection.execute("PRAGMA query_only = ON")
    connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
    return connection


def _table(connection: sqlite3.Connection, plan: ReadPlan, view: PlannedView) -> tuple[str, str]:
    """Quoted name of the table, and the expression of the event time that its columns allow."""
    table = '"' + table_name(plan.project, view.stored).replace('"', '""') + '"'
    exact = set(SQLITE_OWN_COLUMNS) <= {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    return table, SQLITE_EVENT_US if exact else SQLITE_FEAST_EVENT_US


def _view(connection: sqlite3.Connection, table: tuple[str, str], view: PlannedView, keys: Sequence[bytes]) -> RawView:
    """All rows of the keys if none is missing, which needs neither key nor name of a row, else row by row."""
    names = sorted(feature.name for feature in view.features)
    order = sorted(range(len(keys)), key=keys.__getitem__)
    ordered = [keys[row] for row in order]
    cells = _rows(connection, table, "value", names, ordered)
    if len(cells) != len(keys) * len(names):
        return gather(view, keys, _rows(connection, table, "entity_key, feature_name, value", names, keys))
    if not cells:
        return RawView([[] for _ in names], np.zeros(0, dtype=np.int64))
    flat = list(chain.from_iterable(cells))  # zip(*cells) would make an iterator for every cell
    back = sorted(range(len(keys)), key=order.__getitem__)
    columns = {name: flat[2 * at + 1 :: 2 * len(names)] for at, name in enumerate(names)}
    newest = np.array(flat[::2], dtype=np.int64).reshape(len(keys), len(names)).max(axis=1)
    return RawView([[columns[f.name][row] for row in back] for f in view.features], newest[back])


def _rows(
    connection: sqlite3.Connection, table: tuple[str, str], wanted: str, names: Sequence[str], keys: Sequence[bytes]
) -> list[tuple[Any, ...]]:
    """Event time and what is wanted of each cell, by key and name; `keys` ascending give all rows in that order."""
    name, event = table
    rows: list[tuple[Any, ...]] = []
    for start in range(0, len(keys), _MOST_KEYS):
        part = keys[start : start + _MOST_KEYS]
        # The plus keeps SQLite from looking every feature up by itself: those of an entity lie side by side.
        statement = (
            f"SELECT {event}, {wanted} FROM {name} WHERE entity_key IN ({', '.join('?' * len(part))}) "
            f"AND +feature_name IN ({', '.join('?' * len(names))}) ORDER BY entity_key, feature_name"
        )
        rows += connection.execute(statement, [*part, *names]).fetchall()
    return rows
