"""What each guarded store adds to Feast's: exact times in any time zone, readers that go on, settings it refuses."""

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, String

from feature_repo.online.batch import OnlineBatch
from feature_repo.online.guard import ConflictError
from feature_repo.online.postgres import GuardedPostgresOnlineStoreConfig
from feature_repo.online.redis import GuardedRedisOnlineStore, GuardedRedisOnlineStoreConfig
from feature_repo.online.sqlite import GuardedSqliteOnlineStore, GuardedSqliteOnlineStoreConfig

# Half an hour into the hour that does not exist on a wall clock in Berlin.
IN_THE_GAP = datetime(2026, 3, 29, 2, 30, 0, 250_000, tzinfo=UTC)
KEY = EntityKey(join_keys=["outlet_id"], entity_values=[Value(string_val="o1")])


def view_of():
    view = FeatureView(
        name="visits",
        entities=[Entity(name="outlet", join_keys=["outlet_id"], value_type=ValueType.STRING)],
        schema=[Field(name="outlet_id", dtype=String), Field(name="visits", dtype=Float64)],
        source=FileSource(path="unused.parquet", timestamp_field="event_timestamp"),
    )
    view.entity_columns = [Field(name="outlet_id", dtype=String)]
    return view


def config_of(online):
    return RepoConfig(
        project="p", provider="local", registry="unused.db", online_store=online, entity_key_serialization_version=3
    )


def batch(value, event):
    return OnlineBatch.of_table(
        view_of(), _arrow(pd.DataFrame({"outlet_id": ["o1"], "visits": [value], "event_timestamp": [event]}))
    )


def _arrow(frame):
    import pyarrow as pa

    return pa.Table.from_pandas(frame, preserve_index=False)


@pytest.fixture
def sqlite_config(tmp_path):
    return config_of(
        {
            "type": "feature_repo.online.sqlite.GuardedSqliteOnlineStore",
            "path": str(tmp_path / "o.db"),
            "business_time": "now",
        }
    )


@pytest.fixture
def zone(monkeypatch):
    """Moves this process to a time zone and back to UTC."""

    def move(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield move
    move("UTC")


def guarded(config):
    store = GuardedSqliteOnlineStore()
    store.update(config, [], [view_of()], [], [], partial=True)
    return store


def closed(*stores):
    for store in stores:
        for connection in (store._conn, getattr(store, "_writer", None)):
            if connection is not None:
                connection.close()


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize(
    "event", [IN_THE_GAP, datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)]
)
def test_event_times_are_exact_wherever_they_are_written_and_read(sqlite_config, zone, name, event):
    store = guarded(sqlite_config)
    present = datetime(2027, 1, 1, tzinfo=UTC)
    sqlite_config.online_store.business_time = present
    zone(name)
    assert store.write(sqlite_config, view_of(), batch(1.0, event)).written == 1
    assert store.write(sqlite_config, view_of(), batch(0.0, event - timedelta(microseconds=1))).older == 1
    plain = SqliteOnlineStore()
    plain_config = config_of({"type": "sqlite", "path": sqlite_config.online_store.path})
    if event != IN_THE_GAP or name != "Europe/Berlin":  # there plain Feast is an hour off by itself
        assert plain.online_read(plain_config, view_of(), [KEY])[0][0] == event.replace(microsecond=0)
    for elsewhere in ("UTC", "Asia/Tokyo", name):
        zone(elsewhere)
        assert store.online_read(sqlite_config, view_of(), [KEY])[0][0] == event
    closed(store, plain)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/New_York"])
def test_what_plain_feast_wrote_in_the_same_zone_is_guarded_at_its_instant(sqlite_config, zone, name):
    event = datetime(2026, 7, 1, 12, tzinfo=UTC)
    sqlite_config.online_store.business_time = datetime(2027, 1, 1, tzinfo=UTC)
    zone(name)
    plain, store = SqliteOnlineStore(), guarded(sqlite_config)
    plain_config = config_of({"type": "sqlite", "path": sqlite_config.online_store.path})
    plain.online_write_batch(plain_config, view_of(), [(KEY, {"visits": Value(double_val=3.0)}, event, None)], None)
    assert store.online_read(sqlite_config, view_of(), [KEY])[0][0] == event
    assert store.write(sqlite_config, view_of(), batch(2.0, event - timedelta(seconds=1))).older == 1
    assert store.write(sqlite_config, view_of(), batch(4.0, event + timedelta(seconds=1))).written == 1
    closed(store, plain)


def test_readers_go_on_while_a_batch_is_being_written(sqlite_config):
    store, reader = guarded(sqlite_config), GuardedSqliteOnlineStore()
    event = datetime(2026, 1, 1, tzinfo=UTC)
    store.write(sqlite_config, view_of(), batch(1.0, event))
    with store.session(sqlite_config, view_of()) as session:
        rows, _ = batch(2.0, event + timedelta(seconds=1)).admitted(latest_us=2**62)
        session.put(rows)
        assert reader.online_read(sqlite_config, view_of(), [KEY])[0][1]["visits"].double_val == 1.0
    assert reader.online_read(sqlite_config, view_of(), [KEY])[0][1]["visits"].double_val == 2.0
    closed(store, reader)


def test_a_step_that_fails_leaves_nothing_behind(sqlite_config):
    store = guarded(sqlite_config)
    rows, _ = batch(2.0, datetime(2026, 1, 1, tzinfo=UTC)).admitted(latest_us=2**62)

    def fails():
        with store.session(sqlite_config, view_of()) as session:
            session.put(rows)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert store.online_read(sqlite_config, view_of(), [KEY]) == [(None, None)]
    closed(store)


def test_tables_have_no_row_ids_and_no_second_index_and_odd_names_are_safe(sqlite_config):
    view = view_of()
    view.name = 'odd"; DROP TABLE x; --'
    store = GuardedSqliteOnlineStore()
    store.update(sqlite_config, [], [view], [], [], partial=True)
    with closing(sqlite3.connect(sqlite_config.online_store.path)) as connection:
        ((sql, indexes),) = connection.execute(
            "SELECT max(sql), count(*) FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        ).fetchall()
    assert sql.endswith("WITHOUT ROWID")
    assert indexes == 1
    store.update(sqlite_config, [view], [], [], [], partial=True)
    with closing(sqlite3.connect(sqlite_config.online_store.path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        (GuardedRedisOnlineStoreConfig, {"redis_type": "redis_cluster"}, "redis_cluster: an atomic step"),
        (GuardedRedisOnlineStoreConfig, {"skip_dedup": True}, "skip_dedup: an older value would replace"),
        (GuardedSqliteOnlineStoreConfig, {"vector_enabled": True}, "use Feast's `sqlite`"),
        (GuardedSqliteOnlineStoreConfig, {"business_time": "yesterday"}, "business_time"),
        (GuardedSqliteOnlineStoreConfig, {"business_time": datetime(2026, 1, 1)}, "timezone"),  # noqa: DTZ001
        (GuardedSqliteOnlineStoreConfig, {"allowed_skew_seconds": -1}, "allowed_skew_seconds"),
        (
            GuardedPostgresOnlineStoreConfig,
            {"host": "h", "database": "d", "user": "u", "password": "", "vector_enabled": True},
            "use Feast's `postgres`",
        ),
    ],
)
def test_settings_that_the_contract_cannot_keep_are_refused(kind, more, said):
    with pytest.raises(ValueError, match=said):
        kind(**{"business_time": "now", **more})


def test_the_configuration_is_still_one_of_feasts():
    assert isinstance(GuardedSqliteOnlineStoreConfig(business_time="now"), SqliteOnlineStoreConfig)


@pytest.fixture
def redis_config(redis_url, redis_prefix):
    config = config_of(
        {
            "type": "feature_repo.online.redis.GuardedRedisOnlineStore",
            "connection_string": redis_url,
            "business_time": "now",
            "key_ttl_seconds": 500,
        }
    )
    config.project = redis_prefix
    return config


@pytest.mark.services
def test_keys_of_redis_expire_when_that_is_asked_for(redis_config):
    store = GuardedRedisOnlineStore()
    store.write(redis_config, view_of(), batch(1.0, datetime(2026, 1, 1, tzinfo=UTC)))
    with store._get_client(redis_config.online_store) as client:
        (key,) = client.scan_iter(f"*{redis_config.project}")
        assert 400 < client.ttl(key) <= 500


@pytest.mark.services
def test_an_entity_that_changes_between_look_and_write_is_a_conflict_and_stays_as_it_is(redis_config):
    store = GuardedRedisOnlineStore()
    event = datetime(2026, 1, 1, tzinfo=UTC)
    late, _ = batch(1.0, event).admitted(latest_us=2**62)

    def disturbed():
        with store.session(redis_config, view_of()) as session:
            session.known(late.keys)
            store.write(redis_config, view_of(), batch(2.0, event + timedelta(seconds=1)))
            session.put(late)

    with pytest.raises(ConflictError):
        disturbed()
    assert store.online_read(redis_config, view_of(), [KEY])[0][1]["visits"].double_val == 2.0
    store._client.close()


def test_of_many_batches_only_one_is_taken_ahead_of_what_is_written(sqlite_config):
    store, taken = GuardedSqliteOnlineStore(), []
    store.update(sqlite_config, [], [view_of()], [], [], partial=True)

    def batches():
        for day in range(1, 6):
            taken.append(day)
            yield batch(float(day), datetime(2026, 1, day, tzinfo=UTC))

    ahead = [(len(taken), report.written) for report in store.write_each(sqlite_config, view_of(), batches())]
    assert ahead == [(2, 1), (3, 1), (4, 1), (5, 1), (5, 1)]
    ((_, values),) = store.online_read(sqlite_config, view_of(), [KEY])
    assert values["visits"].double_val == 5.0
