"""One online store behind several doors: poplift's class and Feast's own, without a registry between."""

from datetime import UTC, datetime, timedelta

import psycopg
import pyarrow as pa
from feast import Entity, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.passthrough_provider import PassthroughProvider
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, Int64, String

from feature_repo.online.batch import OnlineBatch

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOON = NOW - timedelta(hours=2)
TTL = timedelta(days=1)
SECOND = timedelta(seconds=1)
NOT_FOUND, NULL = "not found", None
GUARDED = {
    "sqlite": "feature_repo.online.sqlite.GuardedSqliteOnlineStore",
    "redis": "feature_repo.online.redis.GuardedRedisOnlineStore",
    "postgres": "feature_repo.online.postgres.GuardedPostgresOnlineStore",
}


TYPES = {"visits": Float64, "rank": Int64}


def view_of(*features):
    return FeatureView(
        name="outlet_visits",
        entities=[Entity(name="outlet", join_keys=["outlet_id"], value_type=ValueType.STRING)],
        ttl=TTL,
        schema=[Field(name="outlet_id", dtype=String), *(Field(name=f, dtype=TYPES[f]) for f in features)],
        source=FileSource(
            path="unused.parquet", timestamp_field="event_timestamp", created_timestamp_column="created_timestamp"
        ),
    )


class Store:
    """One online store as Feast's provider drives it: poplift's class or, for comparison, Feast's own."""

    def __init__(self, config, *features):
        self.config = config
        self.provider = PassthroughProvider(config)
        self.online = self.provider.online_store
        self.grow(*features)

    def grow(self, *features):
        """What `feast apply` does when the view has these features."""
        self.view = view_of(*features)
        self.view.entity_columns = [Field(name="outlet_id", dtype=String)]
        self.online.update(self.config, [], [self.view], [], [], partial=True)

    def close(self):
        for attribute in ("_conn", "_writer", "_conn_pool", "_client"):
            if (opened := getattr(self.online, attribute, None)) is not None:
                opened.close()


class Home:
    """Opens the same online store as often as a test wants."""

    def __init__(self, kind, project, options):
        self.kind, self.project, self.options = kind, project, options
        self.opened = []

    def store(self, *features, plain=False, present=NOW):
        own = {} if plain else {"business_time": present.isoformat(), "allowed_skew_seconds": 60}
        config = RepoConfig(
            project=self.project,
            provider="local",
            registry="unused.db",
            online_store={"type": self.kind if plain else GUARDED[self.kind], **self.options, **own},
            entity_key_serialization_version=3,
        )
        self.opened.append(Store(config, *(features or ("visits",))))
        return self.opened[-1]


def own_database(url, prefix):
    name = f"{prefix}_online"
    with psycopg.connect(url.replace("+psycopg", "") + "postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return {
        "host": "127.0.0.1",
        "port": 5432,
        "database": name,
        "user": "postgres",
        "password": "",
        "sslmode": "prefer",
    }


def rows(*given):
    """Rows of (outlet, value, event time) or (outlet, value, event time, created time)."""
    return pa.table(
        {
            "outlet_id": pa.array([g[0] for g in given], pa.string()),
            "visits": pa.array([g[1] for g in given], pa.float64()),
            "event_timestamp": pa.array([g[2] for g in given], pa.timestamp("us", tz="UTC")),
            "created_timestamp": pa.array(
                [(g[3] if len(g) > 3 else g[2]) for g in given], pa.timestamp("us", tz="UTC")
            ),
        }
    )


def write(store, *given):
    """Through our own door; returns written, older and refused."""
    report = store.online.write(store.config, store.view, OnlineBatch.of_table(store.view, rows(*given)))
    return report.written, report.older, dict(report.refused)


def push(store, *given):
    """Through Feast's door, as its server and `FeatureStore.push` do."""
    store.provider.ingest_df(store.view, rows(*given).to_pandas())


def read(store, *outlets, feature="visits"):
    """What `online_read` says of each outlet: NOT_FOUND, NULL or the value."""
    found = store.online.online_read(store.config, store.view, _keys(outlets), [feature])
    return [_said(values, feature) for _, values in found]


def _said(values, feature):
    if values is None or feature not in values:
        return NOT_FOUND
    kind = values[feature].WhichOneof("val")
    return NULL if kind is None else getattr(values[feature], kind)


def _keys(outlets):
    return [EntityKey(join_keys=["outlet_id"], entity_values=[Value(string_val=o)]) for o in outlets]


def event_times(store, *outlets):
    found = store.online.online_read(store.config, store.view, _keys(outlets), ["visits"])
    return [time and time.astimezone(UTC) for time, _ in found]
