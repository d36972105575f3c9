"""Reads serialised values out of SQLite: one statement per view, on connections of its own that cannot write."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from feature_repo.online.decoding import Raw
from feature_repo.online.layout import SQLITE_EVENT_US, SQLITE_FEAST_EVENT_US, SQLITE_OWN_COLUMNS, table_name
from feature_repo.online.plan import PlannedView, ReadPlan
from feature_repo.online.reader import RawView

# SQLite takes 32,766 variables in a statement.
_MOST_KEYS = 10_000
_WAIT_SECONDS = 5
_MAPPED_BYTES = 1 << 30


class SqliteValues:
    """The values in one file, which must exist; each thread has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = threading.local()

    def fetch(self, plan: ReadPlan, keys: Sequence[Sequence[bytes]]) -> list[RawView]:
        """Every view of the plan, in order; errors of sqlite3 pass through."""
        connection = self._connection()
        asked = {place: group for lookup, group in zip(plan.lookups, keys, strict=True) for place in lookup.views}
        return [_view(connection, plan.project, view, asked[place]) for place, view in enumerate(plan.views)]

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            # Not mode=ro: a reader of a write-ahead log may have to make the file that is shared with writers.
            connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=_WAIT_SECONDS
            )
            connection.execute("PRAGMA query_only = ON")
            connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
            self._own.connection = connection
        return connection


def _view(connection: sqlite3.Connection, project: str, view: PlannedView, keys: Sequence[bytes]) -> RawView:
    row_of = {key: row for row, key in enumerate(keys)}
    columns: dict[str, list[Raw]] = {feature.name: [None] * len(keys) for feature in view.features}
    events = np.zeros(len(keys), dtype=np.int64)
    for statement, variables in _statements(connection, project, view, keys):
        for key, name, value, event in connection.execute(statement, variables):
            row = row_of[key]
            columns[name][row] = value
            events[row] = max(events[row], event)
    return RawView([columns[feature.name] for feature in view.features], events)


def _statements(
    connection: sqlite3.Connection, project: str, view: PlannedView, keys: Sequence[bytes]
) -> Iterator[tuple[str, Sequence[bytes | str]]]:
    table = '"' + table_name(project, view.stored).replace('"', '""') + '"'
    own = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    event = SQLITE_EVENT_US if set(SQLITE_OWN_COLUMNS) <= own else SQLITE_FEAST_EVENT_US
    names = [feature.name for feature in view.features]
    for start in range(0, len(keys), _MOST_KEYS):
        part = keys[start : start + _MOST_KEYS]
        yield (
            f"SELECT entity_key, feature_name, value, {event} FROM {table} "
            f"WHERE entity_key IN ({', '.join('?' * len(part))}) AND feature_name IN ({', '.join('?' * len(names))})",
            [*part, *names],
        )
