"""The Postgres online store class that feature_store.yaml names: Feast's table, whose instants are exact already."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from feast import FeatureView, RepoConfig
from feast.infra.online_stores.postgres_online_store.postgres import (
    PostgreSQLOnlineStore,
    PostgreSQLOnlineStoreConfig,
)
from feast.infra.utils.postgres.connection_utils import _get_connection_pool
from psycopg import Connection, sql
from pydantic import model_validator

from feature_repo.online.batch import Rows
from feature_repo.online.guard import GuardedStore, WriteContract, stored_name
from feature_repo.online.layout import table_name
from feature_repo.online.planned_reads import PlannedReads
from feature_repo.online.reading_postgres import PostgresValues
from feature_repo.online.rules import EPOCH, UNKNOWN, Micros, micros

_COLUMNS = "entity_key, feature_name, value, event_ts, created_ts"


class GuardedPostgresOnlineStoreConfig(WriteContract, PostgreSQLOnlineStoreConfig):  # type: ignore[misc]
    """Named in feature_store.yaml as `online_store`; `business_time` decides ages and what lies ahead."""

    type: str = "feature_repo.online.postgres.GuardedPostgresOnlineStore"

    @model_validator(mode="after")
    def _without_search(self) -> "GuardedPostgresOnlineStoreConfig":
        if self.vector_enabled or self.enable_openai_compatible_store:
            raise ValueError("vector search is not kept by the guarded store: use Feast's `postgres`")
        return self


class GuardedPostgresOnlineStore(PlannedReads, GuardedStore, PostgreSQLOnlineStore):  # type: ignore[misc]
    """Feast's Postgres layout under poplift's write contract."""

    batch_rows = 2_000
    _conn_pool: Any = None

    @contextmanager
    def _get_conn(self, config: RepoConfig, autocommit: bool = False) -> Iterator[Connection[Any]]:
        # Feast's own insists on the type name "postgres" and loses a connection with every error.
        if self._conn_pool is None:
            pool = _get_connection_pool(config.online_store)
            pool.open()
            self._conn_pool = pool
            weakref.finalize(self, pool.close)
        with self._conn_pool.connection() as connection:
            connection.set_autocommit(autocommit)
            yield connection

    def stored_values(self, config: RepoConfig) -> PostgresValues:
        """Reads over the client that writes use."""
        return PostgresValues(lambda: self._get_conn(config, autocommit=True))

    @contextmanager
    def session(self, config: RepoConfig, view: FeatureView) -> Iterator["PostgresSession"]:
        """A transaction that keeps other writers of this view out, plain Feast's too; readers go on."""
        name = sql.Identifier(table_name(config.project, stored_name(config, view)))
        with self._get_conn(config) as connection:
            connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(name))
            yield PostgresSession(connection, name)

    def close(self) -> None:
        """Give the connections back to the server; the next use opens new ones."""
        if self._conn_pool is not None:
            self._conn_pool.close()
            self._conn_pool = None


class PostgresSession:
    """One write transaction on the table of one view."""

    def __init__(self, connection: Connection[Any], table: sql.Identifier) -> None:
        self._connection = connection
        self._table = table

    def known(self, keys: Sequence[bytes]) -> tuple[Micros, Micros]:
        """Newest event time of each key and its created time, UNKNOWN where there is none."""
        statement = sql.SQL(
            "SELECT DISTINCT ON (entity_key) entity_key, event_ts, created_ts FROM {} WHERE entity_key = ANY(%s) "
            "ORDER BY entity_key, event_ts DESC, created_ts DESC NULLS LAST"
        ).format(self._table)
        stored = {
            bytes(key): (micros(event), UNKNOWN if created is None else micros(created))
            for key, event, created in self._connection.execute(statement, [list(keys)])
        }
        pairs = [stored.get(key, (UNKNOWN, UNKNOWN)) for key in keys]
        event_us, created_us = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return event_us, created_us

    def put(self, rows: Rows) -> None:
        """Copy these rows beside the table and merge them into it."""
        if not len(rows):
            return
        columns = sql.SQL(_COLUMNS)
        self._connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE arriving ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
                columns, self._table
            )
        )
        events = [_instant(us) for us in rows.event.tolist()]
        created = [None if us == UNKNOWN else _instant(us) for us in rows.created.tolist()]
        with self._connection.cursor() as cursor, cursor.copy("COPY arriving FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["bytea", "text", "bytea", "timestamptz", "timestamptz"])
            for name, values in rows.values.items():
                for key, value, event, known in zip(rows.keys, values, events, created, strict=True):
                    copy.write_row((key, name, value, event, known))
        self._connection.execute(
            sql.SQL(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM arriving ON CONFLICT (entity_key, feature_name) "
                "DO UPDATE SET value = excluded.value, value_text = NULL, event_ts = excluded.event_ts, "
                "created_ts = excluded.created_ts"
            ).format(table=self._table, columns=columns)
        )


def _instant(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)
