"""The SQLite online store class that feature_store.yaml names: Feast's table, three columns more, one index less.

Feast keeps whole seconds in `event_ts`, in a way that depends on the process's time zone. Ours are exact in
`event_us` and `created_us`, and hold only while `written_ts` equals `event_ts`: plain Feast changes the latter alone.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from feast import Entity, FeatureView, RepoConfig
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.Value_pb2 import Value
from pydantic import model_validator

from feature_repo.online.batch import Rows
from feature_repo.online.guard import GuardedStore, Read, WriteContract, served, stored_name
from feature_repo.online.layout import (
    SQLITE_CREATED_US,
    SQLITE_EVENT_US,
    SQLITE_FEAST_EVENT_US,
    SQLITE_OWN_COLUMNS,
    table_name,
)
from feature_repo.online.planned_reads import PlannedReads
from feature_repo.online.reading_sqlite import SqliteValues
from feature_repo.online.rules import EPOCH, UNKNOWN, Micros

_MOST_VARIABLES = 10_000
_WAIT_SECONDS = 60


class GuardedSqliteOnlineStoreConfig(WriteContract, SqliteOnlineStoreConfig):  # type: ignore[misc]
    """Named in feature_store.yaml as `online_store`; `business_time` decides ages and what lies ahead."""

    type: str = "feature_repo.online.sqlite.GuardedSqliteOnlineStore"

    @model_validator(mode="after")
    def _without_search(self) -> "GuardedSqliteOnlineStoreConfig":
        if self.vector_enabled or self.text_search_enabled or self.enable_openai_compatible_store:
            raise ValueError("vector and text search are not kept by the guarded store: use Feast's `sqlite`")
        return self


class GuardedSqliteOnlineStore(PlannedReads, GuardedStore, SqliteOnlineStore):  # type: ignore[misc]
    """Feast's SQLite layout under poplift's write contract."""

    batch_rows = 10_000

    def __init__(self) -> None:
        self._writer: sqlite3.Connection | None = None
        self._columns_checked: set[str] = set()
        self._writing = threading.Lock()

    def stored_values(self, config: RepoConfig) -> SqliteValues:
        """Reads on connections of their own."""
        return SqliteValues(Path(self._get_db_path(config)))

    @contextmanager
    def session(self, config: RepoConfig, view: FeatureView) -> Iterator["SqliteSession"]:
        """A transaction that holds SQLite's write lock from its first statement; readers go on (WAL)."""
        name = table_name(config.project, stored_name(config, view))
        with self._writing:
            connection = self._connection(config)
            connection.execute("BEGIN IMMEDIATE")
            try:
                if name not in self._columns_checked:
                    _complete(connection, name)
                yield SqliteSession(connection, name)
                connection.execute("COMMIT")
                self._columns_checked.add(name)
            except BaseException:
                connection.execute("ROLLBACK")
                raise

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[Any],
        requested_features: list[str] | None = None,
    ) -> list[Read]:
        """Values by entity, exact event times, under the age limit; see `guard.served` for what is out of it."""
        # Feast's own read knows whole seconds only; what it takes from the table is otherwise the same.
        version = config.entity_key_serialization_version
        keys = [serialize_entity_key(key, entity_key_serialization_version=version) for key in entity_keys]
        name = _quoted(table_name(config.project, stored_name(config, table)))
        found: dict[bytes, tuple[int, dict[str, Value]]] = {}
        connection = self._get_conn(config)
        is_ours = set(SQLITE_OWN_COLUMNS) <= _columns(connection, name)
        event_us = SQLITE_EVENT_US if is_ours else SQLITE_FEAST_EVENT_US
        for marks, part in _parts(keys):
            statement = f"SELECT entity_key, feature_name, value, {event_us} FROM {name} WHERE entity_key IN ({marks})"
            for key, feature, value, event in connection.execute(statement, part):
                if requested_features is None or feature in requested_features:
                    newest, values = found.setdefault(key, (event, {}))
                    values[feature] = Value.FromString(value)
                    found[key] = (max(newest, event), values)
        rows = [_read(found.get(key)) for key in keys]
        return served(rows, contract=config.online_store, ttl=table.ttl)

    def update(  # noqa: PLR0917 # Feast's signature
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],  # noqa: ARG002
        entities_to_keep: Sequence[Entity],  # noqa: ARG002
        partial: bool,  # noqa: ARG002
    ) -> None:
        """Make the tables of these views, complete those that plain Feast made, drop the others."""
        with self._writing, closing(_open(Path(self._get_db_path(config)))) as connection:
            for view in tables_to_keep:
                name = table_name(config.project, stored_name(config, view))
                connection.execute(_create(name))
                _complete(connection, name)
            for view in tables_to_delete:
                name = table_name(config.project, stored_name(config, view))
                connection.execute(f"DROP TABLE IF EXISTS {_quoted(name)}")
                self._columns_checked.discard(name)

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Close what is open and remove the file."""
        with self._writing:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self._columns_checked.clear()
        super().teardown(config, tables, entities)

    def _connection(self, config: RepoConfig) -> sqlite3.Connection:
        if self._writer is None:
            self._writer = _open(Path(self._get_db_path(config)))
        return self._writer


class SqliteSession:
    """One write transaction on the table of one view."""

    def __init__(self, connection: sqlite3.Connection, table: str) -> None:
        self._connection = connection
        self._table = _quoted(table)

    def known(self, keys: Sequence[bytes]) -> tuple[Micros, Micros]:
        """Newest event time of each key and its created time, UNKNOWN where there is none."""
        found: dict[bytes, tuple[int, int]] = {}
        for marks, part in _parts(keys):
            statement = (
                f"SELECT entity_key, e, max(c) FROM (SELECT entity_key, {SQLITE_EVENT_US} AS e, "
                f"{SQLITE_CREATED_US} AS c FROM {self._table} WHERE entity_key IN ({marks})) GROUP BY entity_key, e"
            )
            for key, event, created in self._connection.execute(statement, part):
                times = (event, UNKNOWN if created is None else created)
                found[key] = max(times, found.get(key, times))
        pairs = [found.get(key, (UNKNOWN, UNKNOWN)) for key in keys]
        event_us, created_us = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return event_us, created_us

    def put(self, rows: Rows) -> None:
        """Write these rows in the order of the table, which keeps its pages together."""
        names = sorted(rows.values)
        # One statement per entity: what its cells share is bound once.
        cells = ", ".join(f"(?1, {_text(n)}, ?{at}, ?2, ?3, ?2, ?4, ?5)" for at, n in enumerate(names, start=6))
        created = [None if us == UNKNOWN else us for us in rows.created.tolist()]
        parameters = zip(
            rows.keys,
            _feast_seconds(rows.event),
            _feast_seconds(rows.created),
            rows.event.tolist(),
            created,
            *(rows.values[name] for name in names),
            strict=True,
        )
        self._connection.executemany(
            f"INSERT INTO {self._table} (entity_key, feature_name, value, event_ts, created_ts, "
            f"written_ts, event_us, created_us) VALUES {cells} "
            "ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = excluded.value, value_text = NULL, "
            "event_ts = excluded.event_ts, created_ts = excluded.created_ts, "
            "written_ts = excluded.written_ts, event_us = excluded.event_us, created_us = excluded.created_us",
            sorted(parameters, key=itemgetter(0)),
        )


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")  # kept in the file: a long write would otherwise lock readers out
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -65536")
    return connection


def _create(name: str) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {_quoted(name)} (entity_key BLOB, feature_name TEXT, value BLOB, "
        "value_text TEXT, vector_value BLOB, event_ts timestamp, created_ts timestamp, written_ts INTEGER, "
        "event_us INTEGER, created_us INTEGER, PRIMARY KEY (entity_key, feature_name)) WITHOUT ROWID"
    )


def _complete(connection: sqlite3.Connection, name: str) -> None:
    for column in SQLITE_OWN_COLUMNS:
        if column not in _columns(connection, _quoted(name)):
            connection.execute(f"ALTER TABLE {_quoted(name)} ADD COLUMN {column} INTEGER")


def _columns(connection: sqlite3.Connection, quoted: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({quoted})")}


def _parts(keys: Sequence[bytes]) -> Iterator[tuple[str, Sequence[bytes]]]:
    for start in range(0, len(keys), _MOST_VARIABLES):
        part = keys[start : start + _MOST_VARIABLES]
        yield ", ".join("?" * len(part)), part


def _read(found: tuple[int, dict[str, Value]] | None) -> Read:
    if found is None:
        return None, None
    event, values = found
    return EPOCH + timedelta(microseconds=event), values


def _feast_seconds(us: Micros) -> list[int | None]:
    # Feast's adapter takes the UTC wall clock for the local one.
    seconds = us // 1_000_000
    distinct, place = np.unique(seconds, return_inverse=True)
    naive = EPOCH.replace(tzinfo=None)
    local = [
        None if second == UNKNOWN // 1_000_000 else int((naive + timedelta(seconds=second)).timestamp())
        for second in distinct.tolist()
    ]
    return [local[at] for at in place.tolist()]


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
