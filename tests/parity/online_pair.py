"""One online store seen by poplift's class and by Feast's own, with entities that every test has for itself."""

import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import redis
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Value
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

NOW = datetime(2018, 1, 2, 5, tzinfo=UTC)
TTL = timedelta(days=21)
FRESH = NOW - timedelta(days=1, seconds=7)
TYPES = {
    "rate": (Float64, "double_val", 0.1),
    "share": (Float32, "float_val", 0.3),
    "lines": (Int64, "int64_val", -70_000_000_000),
    "weeks": (Int32, "int32_val", 27),
    "is_managed": (Bool, "bool_val", True),
    "label": (String, "string_val", "Süßgetränke " * 20),
    "opened": (UnixTimestamp, "unix_timestamp_val", 1_500_000_000),
    "history": (Array(Float64), "double_list_val", DoubleList(val=[1.0, 2.0])),
}
STORES = ["sqlite", *(pytest.param(name, marks=pytest.mark.services) for name in ("redis", "postgres"))]


def cell(name, value=None):
    _, field, default = TYPES[name]
    return Value(**{field: default if value is None else value})


def values(**changed):
    """A row of the sales view: every type, some values changed, None for one that is not written."""
    row = {name: cell(name) for name in TYPES} | changed
    return {name: value for name, value in row.items() if value is not None}


def key_of(pair, outlet, ppg=None):
    keys = {"outlet_id": pair.outlet(outlet)} | ({"ppg_id": ppg} if ppg else {})
    return EntityKey(join_keys=list(keys), entity_values=[Value(string_val=v) for v in keys.values()])


def definitions(folder):
    outlet, ppg, week = (
        Entity(name=n, join_keys=[k], value_type=t)
        for n, k, t in (
            ("outlet", "outlet_id", ValueType.STRING),
            ("ppg", "ppg_id", ValueType.STRING),
            ("week", "week_number", ValueType.INT64),
        )
    )

    def view(name, entities, fields, ttl=TTL):
        keys = [Field(name=e.join_key, dtype=Int64 if e is week else String) for e in entities]
        source = FileSource(
            name=f"{name}_table", path=str(folder / f"{name}.parquet"), timestamp_field="event_timestamp"
        )
        return FeatureView(name=name, entities=entities, ttl=ttl, schema=[*keys, *fields], source=source)

    sales = view("sales", [outlet, ppg], [Field(name=n, dtype=t) for n, (t, _, _) in TYPES.items()])
    views = [
        sales,
        view("trend", [outlet], [Field(name="baskets", dtype=Float64), Field(name="region", dtype=String)]),
        view("shoppers", [outlet], [Field(name="visits", dtype=Int64)]),
        view("calendar", [week], [Field(name="holiday", dtype=String)], ttl=timedelta(0)),
    ]
    mapped = FeatureService(name="mapped", features=[views[1].with_join_key_map({"outlet_id": "next_outlet_id"})])
    return [outlet, ppg, week, *views, FeatureService(name="all", features=views), mapped]


class Pair:
    """One online store, seen by poplift's class and by Feast's own."""

    def __init__(self, folder, project, guarded, plain):
        self.folder = folder
        self.test = ""
        self.ours, self.feast = (self.open(project, online) for online in (guarded, plain))
        self.ours.apply(definitions(folder))
        self.feast.refresh_registry()

    def open(self, project, online):
        return FeatureStore(
            config=RepoConfig(
                project=project,
                provider="local",
                registry={"registry_type": "sql", "path": f"sqlite:///{self.folder}/registry.db"},
                online_store=online,
                offline_store={"type": "duckdb"},
                entity_key_serialization_version=3,
            )
        )

    def outlet(self, letter):
        """Name of an outlet that this test has for itself."""
        return f"{self.test}-{letter}"

    def write(self, view, *rows, by=None):
        """(entity key, values, event time) through the guarded class, or through plain Feast."""
        store = by or self.ours
        online = store.provider.online_store
        data = [(key, row, event, None) for key, row, event in rows]
        online.online_write_batch(store.config, store.get_feature_view(view), data, None)

    def read(self, rows, service="all", **options):
        """The responses of both, ours first."""
        return tuple(
            store.get_online_features(store.get_feature_service(service), rows, **options)
            for store in (self.ours, self.feast)
        )

    def reader(self, service="all"):
        online = self.ours.provider.online_store
        return online.reader(self.ours.config, self.ours.registry, project=self.ours.project, service=service)


@pytest.fixture(params=STORES, scope="module")
def stores(request, tmp_path_factory):
    """A pair for all tests of this module, which keep apart by the names of their outlets."""
    folder, project = tmp_path_factory.mktemp("online"), f"t_{uuid.uuid4().hex[:10]}"
    with {"sqlite": in_file, "redis": in_redis, "postgres": in_postgres}[request.param](
        request, folder, project
    ) as online:
        name = f"feature_repo.online.{request.param}.Guarded{request.param.title()}OnlineStore"
        guarded = online | {"type": name, "business_time": NOW.isoformat()}
        both = Pair(folder, project, guarded, online | {"type": request.param})
        yield both
        for store in (both.ours, both.feast):
            close_pool(store.provider.online_store)


@pytest.fixture
def pair(stores):
    stores.test = uuid.uuid4().hex[:8]
    return stores


@contextmanager
def in_file(request, folder, project):
    yield {"path": str(folder / "online.db")}


@contextmanager
def in_redis(request, folder, project):
    url = request.getfixturevalue("redis_url")
    yield {"connection_string": url}
    host, port = url.split(":")
    with redis.Redis(host=host, port=int(port), socket_timeout=5) as client:
        for key in client.scan_iter(f"*{project}*", count=1000):
            client.delete(key)


@contextmanager
def in_postgres(request, folder, project):
    url = request.getfixturevalue("postgres_url").replace("+psycopg", "") + "postgres"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{project}"')
        try:
            yield {
                "host": "127.0.0.1",
                "database": project,
                "user": "postgres",
                "password": "",
                "db_schema": "public",
                "sslmode": "disable",
            }
        finally:
            admin.execute(f'DROP DATABASE "{project}" WITH (FORCE)')


def close_pool(online):
    if getattr(online, "_conn_pool", None):
        online._conn_pool.close()
    elif getattr(online, "_conn", None):
        online._conn.close()


def write_known(pair, by=None):
    """Three outlets × two ppgs, every value present and fresh, times in whole seconds."""
    for at, outlet in enumerate("abc"):
        event = FRESH - timedelta(hours=at)
        trend = {"baskets": Value(double_val=at / 3), "region": Value(string_val=f"region {at}")}
        pair.write("trend", (key_of(pair, outlet), trend, event), by=by)
        pair.write("shoppers", (key_of(pair, outlet), {"visits": Value(int64_val=at)}, event), by=by)
        for ppg in "xy":
            pair.write("sales", (key_of(pair, outlet, ppg), values(lines=cell("lines", at + 1)), event), by=by)
    week = EntityKey(join_keys=["week_number"], entity_values=[Value(int64_val=54)])
    pair.write("calendar", (week, {"holiday": Value(string_val="New Year")}, NOW - timedelta(days=400)), by=by)


def rows(pair, *cells):
    return [{"outlet_id": pair.outlet(outlet), "ppg_id": ppg, "week_number": 54} for outlet, ppg in cells]


def asked(pair):
    """Known entities, one of them twice."""
    return rows(pair, "cx", "ay", "by", "ax", "ay")


@pytest.fixture
def own(tmp_path):
    """A pair of one test, on SQLite, both guarded."""
    guarded = {"type": "feature_repo.online.sqlite.GuardedSqliteOnlineStore", "path": str(tmp_path / "online.db")}
    guarded["business_time"] = NOW.isoformat()
    return Pair(tmp_path, "shop", guarded, guarded)
