"""Training sets and materialisation by Spark: the rows and the online state are those that DuckDB gives."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from feature_repo.build import table_path
from feature_repo.catalog import DEMAND_SERVING, DEMAND_TRAINING, VIEWS
from feature_repo.definitions.repository import objects
from poplift import feature_store
from poplift.settings import child_environment, load_settings
from poplift.sources.complete_journey import week_opens
from tests.parity.conftest import SPARK_WARNINGS

pytestmark = [pytest.mark.slow, *SPARK_WARNINGS]

KEYS = ["outlet_id", "ppg_id"]
TICK = pd.Timedelta(1, "us")
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture(scope="module")
def applied(spark, spark_settings):
    """Settings of Spark with the views registered, sources and all."""
    feature_store.apply(spark_settings, objects(spark_settings))
    return spark_settings


def asked(settings):
    """Entities at instants of all kinds: random, on both edges of the age limit and of knowledge, far outside."""
    draw = np.random.default_rng(11)
    cells = pd.read_parquet(table_path(settings.features_dir, "outlet_ppg_sales"), columns=KEYS).drop_duplicates()
    closes = pd.Timestamp(week_opens(20))
    edges = [closes + VIEWS[0].ttl, closes + timedelta(days=1), closes + timedelta(days=8)]
    instants = [
        *(edge + tick for edge in edges for tick in (-TICK, pd.Timedelta(0), TICK)),
        *(pd.Timestamp(week_opens(1)) + pd.to_timedelta(draw.integers(-30 * 24, 420 * 24, 300), unit="h")),
    ]
    known = cells.sample(len(instants), replace=True, random_state=3).assign(event_timestamp=instants)
    strangers = known.head(3).assign(outlet_id="nobody")
    rows = pd.concat([known, strangers, known.head(5)])
    return rows.sample(frac=1, random_state=4).assign(
        event_timestamp=lambda f: pd.to_datetime(f["event_timestamp"], utc=True),
        planned_display=draw.integers(0, 2, len(rows)),
        planned_mailer=draw.integers(0, 2, len(rows)),
        planned_price=draw.uniform(0.2, 6.0, len(rows)),
        planned_week_start_day=draw.integers(17_167, 17_540, len(rows)),
    )


def test_a_training_set_by_spark_equals_the_one_by_duckdb(applied, small_home):
    entities = asked(applied)
    before = entities.copy()
    expected = feature_store.historical_features(small_home.settings, entities=entities, service=DEMAND_TRAINING)
    got = feature_store.historical_features(applied, entities=entities, service=DEMAND_TRAINING)
    pd.testing.assert_frame_equal(got[expected.columns], expected, check_exact=True)
    pd.testing.assert_frame_equal(entities, before)
    assert 0 < expected["transactions_lag_1"].isna().sum() < len(expected) / 2
    assert expected["transactions_lag_1"].nunique() > 5


def online_state(settings):
    """Every cell of the online store of SQLite, as bytes and microseconds."""
    with closing(sqlite3.connect(settings.home / "online.db")) as connection:
        return {
            view.name: connection.execute(
                "SELECT entity_key, feature_name, value, event_us, created_us "
                f"FROM {settings.database_prefix}_{view.name} ORDER BY 1, 2"
            ).fetchall()
            for view in VIEWS
        }


def test_spark_leaves_the_online_store_of_sqlite_as_duckdb_does_and_again_when_it_runs_twice(applied, small_home):
    feature_store.materialize(applied)
    expected = online_state(small_home.settings)
    assert online_state(applied) == expected
    assert all(expected.values())
    feature_store.materialize(applied)
    assert online_state(applied) == expected


@pytest.mark.services
def test_spark_leaves_the_online_store_of_redis_as_duckdb_does(applied, redis_home, redis_prefix, tmp_path):
    import redis

    settings = load_settings(
        home=tmp_path,
        offline_engine="spark",
        database_prefix=redis_prefix,
        redis_url=redis_home.settings.redis_url,
    )
    settings.features_dir.symlink_to(applied.features_dir)
    feature_store.apply(settings, objects(settings))
    feature_store.materialize(settings)

    def state(prefix):
        host, port = settings.redis_url.split(":")
        with redis.Redis(host=host, port=int(port), socket_timeout=5) as client:
            return {key.removesuffix(prefix.encode()): client.hgetall(key) for key in client.scan_iter(f"*{prefix}")}

    expected = state(redis_home.settings.database_prefix)
    assert state(redis_prefix) == expected
    assert len(expected) > 200


def test_spark_keeps_the_write_contract_in_its_workers_and_what_was_unknown_then_out(applied, tmp_path):
    """Workers know nothing but the configuration: an earlier run behind a later one must change nothing."""

    def at(business_time):
        settings = load_settings(
            home=tmp_path, database_prefix="late", offline_engine="spark", business_time=business_time
        )
        feature_store.open_store(settings).materialize(
            start_date=business_time - timedelta(days=2), end_date=business_time, feature_views=["outlet_trend"]
        )
        return online_state(settings)["outlet_trend"]

    settings = load_settings(home=tmp_path, database_prefix="late", offline_engine="spark")
    settings.features_dir.symlink_to(applied.features_dir)
    feature_store.apply(settings, objects(settings))
    newest = applied.business_time
    earlier, unknown = newest - timedelta(days=14), newest - timedelta(days=14, microseconds=1)
    weeks = [{row[3] for row in at(time)} for time in (unknown, earlier, newest)]
    assert [len(week) for week in weeks] == [1, 1, 1]
    first, second, third = (min(week) for week in weeks)
    assert (second - first, third - second) == (timedelta(days=7) // MICROSECOND, timedelta(days=14) // MICROSECOND)
    final = online_state(settings)["outlet_trend"]
    assert at(earlier) == final


def test_spark_refuses_to_materialise_beyond_business_time(applied):
    from feature_repo.interval import FutureIntervalError

    store = feature_store.open_store(applied)
    late = applied.business_time + timedelta(seconds=1)
    with pytest.raises(FutureIntervalError, match="outlet_ppg_sales: asked to materialise until 2018-01-02T05:00:01"):
        store.materialize(start_date=late - timedelta(days=9), end_date=late, feature_views=["outlet_ppg_sales"])


def test_keys_that_feast_would_write_alike_are_refused_by_name(applied):
    from feature_repo.offline.spark import AmbiguousEntityError

    instant = pd.Timestamp(applied.business_time)
    twins = pd.DataFrame({"outlet_id": ["1", "11"], "ppg_id": ["12", "2"], "event_timestamp": instant})
    with pytest.raises(AmbiguousEntityError, match=r"outlet_ppg_sales: .*'11'.*'2'"):
        feature_store.historical_features(applied, entities=twins, service=DEMAND_SERVING)


ELSEWHERE = """
import sys, pandas as pd
from poplift import feature_store
from poplift.settings import load_settings
entities = pd.read_parquet(sys.argv[1])
feature_store.historical_features(load_settings(), entities=entities, service="trend").to_parquet(sys.argv[2])
"""


def test_a_process_in_another_time_zone_gets_the_same_training_set(applied, small_home, tmp_path):
    from feast import FeatureService

    entities = asked(applied)[["outlet_id", "event_timestamp"]].reset_index(drop=True)
    entities.to_parquet(tmp_path / "entities.parquet")
    for engine in ("duckdb", "spark"):
        settings = load_settings(home=tmp_path / engine, database_prefix="zone", offline_engine=engine)
        settings.home.mkdir()
        settings.features_dir.symlink_to(small_home.settings.features_dir)
        (view,) = (o for o in objects(settings) if o.name == "outlet_trend")
        outlet = next(o for o in objects(settings) if o.name == "outlet")
        feature_store.open_store(settings).apply([outlet, view, FeatureService(name="trend", features=[view])])
        subprocess.run(
            [sys.executable, "-c", ELSEWHERE, tmp_path / "entities.parquet", settings.home / "got.parquet"],
            env=child_environment(settings, TZ="America/New_York" if engine == "spark" else "UTC"),
            check=True,
        )
    expected, got = (pd.read_parquet(tmp_path / engine / "got.parquet") for engine in ("duckdb", "spark"))
    pd.testing.assert_frame_equal(got[expected.columns], expected, check_exact=True)
    assert 0 < expected["outlet_baskets_4w"].isna().sum() < len(expected) / 2


WITHOUT_SPARK = """
import sys
sys.modules["pyspark"] = None
from poplift import feature_store
from poplift.settings import load_settings
found = feature_store.online_features(load_settings(), service="running_v1", entities=[{"outlet_id": "1", "ppg_id": "1"}])
try:
    feature_store.open_store(load_settings())
except Exception as error:
    print(len(found.values), error)
"""


def test_serving_reads_features_of_spark_without_having_it_and_others_are_told_what_to_install(applied):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SPARK],
        env=child_environment(applied),
        check=True,
        capture_output=True,
        text=True,
    )
    assert "4 POPLIFT_OFFLINE_ENGINE=spark needs PySpark" in done.stdout


def test_the_engine_can_be_changed_both_ways_on_one_registry(applied, small_home, tmp_path):
    settings = load_settings(home=tmp_path, database_prefix="ways")
    settings.features_dir.symlink_to(small_home.settings.features_dir)
    for engine, source in (("duckdb", "FileSource"), ("spark", "SparkSource"), ("duckdb", "FileSource")):
        chosen = settings.model_copy(update={"offline_engine": engine})
        feature_store.apply(chosen, objects(chosen))
        view = feature_store.open_store(chosen).get_feature_view("outlet_trend")
        assert type(view.batch_source).__name__ == source
