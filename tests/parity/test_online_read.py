"""Online reads by plan answer as Feast's own where it is right, and the same on every store where it is not.

Every difference to Feast is a test whose name begins with `test_unlike_feast`.
"""

import asyncio
import os
import signal
import sqlite3
import uuid
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest
import redis
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Value
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

from feature_repo.online.decoding import Status
from feature_repo.online.reader import EntityError

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


@pytest.mark.parametrize("writer", ["poplift", "feast"])
@pytest.mark.parametrize("full_feature_names", [False, True])
def test_values_statuses_and_times_of_known_fresh_entities_equal_those_of_feast(pair, writer, full_feature_names):
    write_known(pair, by=pair.feast if writer == "feast" else None)
    ours, feast = pair.read(asked(pair), full_feature_names=full_feature_names)
    assert ours.proto == feast.proto
    assert ours.to_dict(include_event_timestamps=True) == feast.to_dict(include_event_timestamps=True)
    assert ours.to_df().equals(feast.to_df())


def test_the_reader_gives_in_columns_what_feast_gives_in_messages(pair):
    write_known(pair)
    got, feast = pair.reader().read(asked(pair)), pair.read(asked(pair))[1].to_dict(include_event_timestamps=True)
    for name in got.values:
        assert got.values[name].tolist() == feast[name], name
        assert set(got.statuses[name]) == {Status.PRESENT}
    for view, feature in (("sales", "rate"), ("trend", "baskets"), ("calendar", "holiday")):
        seconds = got.event_timestamps[view].astype("datetime64[s]").astype(int).tolist()
        assert seconds == feast[f"{feature}__ts"]
    assert got.values["rate"].dtype == got.values["lines"].dtype == np.float64
    assert got.found.all()


def test_features_named_one_by_one_are_read_as_feast_reads_them(pair):
    write_known(pair)
    names = ["trend:region", "sales:label", "sales:rate"]
    ours, feast = (s.get_online_features(names, asked(pair)).proto for s in (pair.ours, pair.feast))
    assert ours == feast


def test_columns_of_entities_are_read_as_rows_are(pair):
    write_known(pair)
    by_row = asked(pair)
    columns = {name: [row[name] for row in by_row] for name in by_row[0]}
    by_rows, by_columns = (pair.read(entities)[0].proto for entities in (by_row, columns))
    assert by_rows == by_columns


def test_the_read_that_does_not_block_the_loop_answers_the_same(pair):
    write_known(pair)
    service = pair.ours.get_feature_service("all")
    waited = asyncio.run(pair.ours.get_online_features_async(service, asked(pair)))
    assert waited.proto == pair.read(asked(pair))[0].proto


def test_what_a_plan_cannot_read_is_read_in_feasts_own_way(pair):
    write_known(pair)
    mapped = [{"next_outlet_id": pair.outlet(letter)} for letter in "ab"]
    ours, feast = (r.to_dict(include_event_timestamps=True) for r in pair.read(mapped, service="mapped"))
    assert ours == feast
    assert ours["region"] == ["region 0", "region 1"]


def test_missing_rows_of_entities_are_feasts_own_error(pair):
    for entities, error in (([{"ppg_id": "x"}], KeyError), ([], IndexError)):
        for store in (pair.ours, pair.feast):
            with pytest.raises(error):
                store.get_online_features(["trend:region"], entities)


def status_of(pair, outlet, ppg="x"):
    """Statuses by feature of one entity, which the reader and both ways through Feast must agree on."""
    (row,) = rows(pair, (outlet, ppg))
    ours, _ = pair.read([row])
    names, results = ours.proto.metadata.feature_names.val, ours.proto.results
    answered = {name: result.statuses[0] for name, result in zip(names, results, strict=True)}
    for name, result in zip(names, results, strict=True):
        assert (result.values[0].WhichOneof("val") is not None) == (result.statuses[0] == Status.PRESENT), name
    columns = pair.reader().read([row])
    assert {name: int(s[0]) for name, s in columns.statuses.items()} == {n: answered[n] for n in columns.statuses}
    mapped = pair.ours.get_online_features(
        pair.ours.get_feature_service("mapped"), [{"next_outlet_id": pair.outlet(outlet)}]
    ).proto
    by_map = dict(zip(mapped.metadata.feature_names.val, (r.statuses[0] for r in mapped.results), strict=True))
    assert by_map["region"] == answered["region"]
    return answered


def test_unlike_feast_an_unknown_entity_is_not_found_on_every_store(pair):
    write_known(pair)
    status = status_of(pair, "nobody")
    assert {status[name] for name in (*TYPES, "baskets", "region", "visits")} == {Status.NOT_FOUND}
    assert status["holiday"] == Status.PRESENT
    plain = pair.read(rows(pair, "ax", ("nobody", "x")))[1].proto
    region = plain.results[list(plain.metadata.feature_names.val).index("region")]
    on_redis = isinstance(pair.ours.provider.online_store, RedisOnlineStore)
    assert region.statuses[1] == (Status.PRESENT if on_redis else Status.NOT_FOUND)


def test_unlike_feast_a_null_is_a_null_value_and_a_feature_never_written_is_not_found(pair):
    write_known(pair)
    pair.write(
        "sales", (key_of(pair, "a", "x"), values(rate=Value(), label=Value(), weeks=None), FRESH + timedelta(hours=1))
    )
    pair.write("sales", (key_of(pair, "d", "x"), values(rate=Value(), weeks=None), FRESH))
    assert status_of(pair, "a")["rate"] == status_of(pair, "a")["label"] == Status.NULL_VALUE
    assert (status_of(pair, "d")["weeks"], status_of(pair, "d")["lines"]) == (Status.NOT_FOUND, Status.PRESENT)
    assert pair.read(rows(pair, "ax"))[0].to_dict()["rate"] == [None]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (NOW - TTL, Status.PRESENT),
        (NOW - TTL - timedelta(seconds=1), Status.OUTSIDE_MAX_AGE),
        (NOW + timedelta(seconds=300), Status.PRESENT),
        (NOW + timedelta(seconds=301), Status.OUTSIDE_MAX_AGE),
    ],
    ids=["oldest", "too old", "latest", "from the future"],
)
def test_unlike_feast_what_is_older_than_the_age_limit_or_from_the_future_is_withheld(pair, event, expected):
    write_known(pair)
    # Plain Feast, because the guarded write refuses the future.
    region = {"region": Value(string_val="north"), "baskets": Value(double_val=1.0)}
    pair.write("trend", (key_of(pair, "z"), region, event), by=pair.feast)
    status = status_of(pair, "z")
    assert status["region"] == status["baskets"] == expected
    ours, feast = (r.to_dict(include_event_timestamps=True) for r in pair.read(rows(pair, "zx")))
    assert feast["region"] == ["north"]
    assert ours["region"] == (["north"] if expected == Status.PRESENT else [None])
    assert ours["region__ts"] == [int(event.timestamp())]


def test_times_are_exact_to_the_microsecond_on_every_store(pair):
    event = FRESH + timedelta(microseconds=123_457)
    pair.write("trend", (key_of(pair, "a"), {"baskets": Value(double_val=1.0), "region": Value(string_val="r")}, event))
    got = pair.reader("all").read(rows(pair, "ax"))
    assert got.event_timestamps["trend"].tolist() == [event.replace(tzinfo=None)]


def test_a_key_of_another_type_is_refused_by_the_reader_with_row_and_key(pair):
    with pytest.raises(EntityError, match=r"row 0: join key week_number is '54' \(str\), calendar want int64"):
        pair.reader().read([{"outlet_id": "a", "ppg_id": "x", "week_number": "54"}])


@pytest.fixture
def own(tmp_path):
    """A pair of one test, on SQLite, both guarded."""
    guarded = {"type": "feature_repo.online.sqlite.GuardedSqliteOnlineStore", "path": str(tmp_path / "online.db")}
    guarded["business_time"] = NOW.isoformat()
    return Pair(tmp_path, "shop", guarded, guarded)


def test_a_read_goes_on_without_the_registry_and_follows_it_when_it_is_back(own):
    write_known(own)
    reader, plans = own.reader(), own.ours.provider.online_store._plans
    service = own.ours.get_feature_service("all")
    before = own.ours.get_online_features(service, asked(own)).proto
    registry = own.folder / "registry.db"
    kept = registry.read_bytes()
    registry.write_bytes(b"no database")
    plans.refresh()
    assert reader.read(asked(own)).found.all()
    assert own.ours.get_online_features(service, asked(own)).proto == before
    registry.write_bytes(kept)
    trend = own.feast.get_feature_view("trend")
    trend.ttl = timedelta(hours=1)
    own.feast.apply(trend)
    assert set(reader.read(asked(own)).statuses["region"]) == {Status.PRESENT}
    plans.refresh()
    assert set(reader.read(asked(own)).statuses["region"]) == {Status.OUTSIDE_MAX_AGE}


def test_a_reader_of_the_file_cannot_write_it_and_is_not_held_up_by_a_writer(own):
    write_known(own)
    reader = own.reader()
    with closing(sqlite3.connect(own.folder / "online.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE shop_trend SET value = x''")
        assert reader.read(asked(own)).found.all()
        writer.execute("ROLLBACK")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._stored._connection().execute("DELETE FROM shop_trend")


def test_a_file_that_was_made_anew_is_read_anew(own):
    write_known(own)
    reader = own.reader()
    assert reader.read(asked(own)).found.all()
    own.ours.provider.online_store.teardown(own.ours.config, [], [])
    with pytest.raises(FileNotFoundError):
        reader.read(asked(own))
    own.ours.apply(definitions(own.folder))
    assert not reader.read(asked(own)).found.any()
    write_known(own)
    assert reader.read(asked(own)).found.all()


@pytest.mark.services
def test_answers_that_came_too_late_are_not_taken_for_those_of_the_next_read(tmp_path, own_redis):
    guarded = {"type": "feature_repo.online.redis.GuardedRedisOnlineStore", "business_time": NOW.isoformat()}
    guarded["connection_string"] = f"{own_redis},socket_timeout=0.25,socket_connect_timeout=0.25,retry=null"
    pair = Pair(tmp_path, "shop", guarded, guarded)
    write_known(pair)
    reader = pair.reader()
    first, second = (reader.read(rows(pair, cell)).values["baskets"].tolist() for cell in ("ax", "bx"))
    process = redis.Redis(host="127.0.0.1", port=int(own_redis.split(":")[1])).info("server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    with pytest.raises(redis.TimeoutError):
        reader.read(rows(pair, "ax"))
    os.kill(process, signal.SIGCONT)
    assert first != second
    assert reader.read(rows(pair, "bx")).values["baskets"].tolist() == second
