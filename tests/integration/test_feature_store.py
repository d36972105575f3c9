"""The door to Feast: rows kept in order, nothing from the future, one registry that only holds what is defined."""

import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from feature_repo.build import table_path
from feature_repo.catalog import BATCH_FEATURES, DEMAND_SERVING, DEMAND_TRAINING, EFFECT_VIEW, RUNNING_VIEWS, VIEWS
from poplift import feature_store
from poplift.feature_evolution import RETIRED, BreakingChangeError
from poplift.settings import load_settings
from poplift.sources.complete_journey import week_opens

KEYS = ["outlet_id", "ppg_id"]


def table(settings, view):
    return pd.read_parquet(table_path(settings.features_dir, view))


def objects(settings):
    from feature_repo.definitions import repository  # Feast takes seconds, and not every process runs these tests

    return repository.objects(settings)


def cells(settings):
    return table(settings, "outlet_ppg_sales")[KEYS].drop_duplicates(ignore_index=True)


def frame_of(online):
    """The values read online, one column per feature."""
    return pd.DataFrame(dict(online.values))  # not a frame yet


def asked(settings, rows, seed):
    """Random entities at random instants of the year and beyond both of its ends."""
    draw = np.random.default_rng(seed)
    chosen = cells(settings).sample(rows, replace=True, random_state=seed, ignore_index=True)
    hours = draw.integers(-30 * 24, 420 * 24, rows)
    return chosen.assign(event_timestamp=pd.Timestamp(week_opens(1)) + pd.to_timedelta(hours, unit="h"))


def known_then(settings, row):
    """The features of one row by the definition: the newest of those known at its instant, no older than the limit."""
    found = {}
    for view in VIEWS:
        frame = table(settings, view.name)
        mine = frame[(frame[list(view.entities)] == row[list(view.entities)]).all(axis=1)]
        known = mine[(mine["created_timestamp"] <= row["event_timestamp"])]
        known = known[(known["event_timestamp"] >= row["event_timestamp"] - view.ttl)]
        newest = known.sort_values(["event_timestamp", "created_timestamp"]).tail(1)
        found |= {f.name: newest[f.name].iloc[0] if len(newest) else np.nan for f in view.features}
    return [found[name] for name in BATCH_FEATURES]


def copy_of(small_home, home, **settings):
    """A home of its own with the small home's feature tables, not yet registered."""
    own = load_settings(home=home, database_prefix="copy", **settings)
    for view in (*VIEWS, *RUNNING_VIEWS, EFFECT_VIEW):
        path = table_path(own.features_dir, view.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(table_path(small_home.settings.features_dir, view.name))
    return own


def registered(settings):
    store = feature_store.open_store(settings)
    return sorted(o.name for o in (*store.list_feature_services(), *store.list_all_feature_views()))


def test_the_join_gives_every_row_the_newest_features_known_at_its_instant(small_home):
    settings = small_home.settings
    rows = asked(settings, 40, seed=1)
    got = feature_store.historical_features(settings, entities=rows, service=DEMAND_SERVING)
    expected = np.array([known_then(settings, row) for _, row in rows.iterrows()], dtype="float64")
    np.testing.assert_array_equal(got[list(BATCH_FEATURES)].to_numpy("float64"), expected)
    assert 0 < np.isnan(expected).all(axis=1).sum() < len(rows)  # instants outside the year were among them


def test_the_join_keeps_rows_order_and_index_also_of_shuffled_duplicates(small_home):
    settings = small_home.settings
    rows = asked(settings, 60, seed=2)
    shuffled = pd.concat([rows, rows, rows.head(7)]).sample(frac=1, random_state=2)
    got = feature_store.historical_features(settings, entities=shuffled, service=DEMAND_SERVING)
    pd.testing.assert_frame_equal(got[[*KEYS, "event_timestamp"]], shuffled, check_dtype=False)
    alone = feature_store.historical_features(settings, entities=rows, service=DEMAND_SERVING)
    pd.testing.assert_frame_equal(got[~got.index.duplicated()].sort_index(), alone)


def test_a_week_is_not_known_before_its_sales_have_landed(small_home):
    settings = small_home.settings
    entity = cells(settings).head(1)
    landed = pd.Timestamp(week_opens(21)) + timedelta(days=1)
    instants = [landed - timedelta(microseconds=1), landed]
    rows = pd.concat([entity] * 2, ignore_index=True).assign(event_timestamp=instants)
    got = feature_store.historical_features(settings, entities=rows, service=DEMAND_SERVING)
    sales = table(settings, "outlet_ppg_sales").merge(entity).set_index("event_timestamp")
    names = [f.name for f in VIEWS[0].features]
    assert got[names].iloc[0].to_list() == sales.loc[week_opens(20), names].to_list()
    assert got[names].iloc[1].to_list() == sales.loc[week_opens(21), names].to_list()


def test_a_late_correction_changes_nothing_before_it_was_known(tmp_path, small_home):
    settings = copy_of(small_home, tmp_path)
    path = table_path(settings.features_dir, "outlet_trend")
    trend = pd.read_parquet(path)
    week = trend[trend["event_timestamp"] == week_opens(30)]
    corrected = week.assign(
        outlet_baskets_4w=week["outlet_baskets_4w"] + 100,
        created_timestamp=week["created_timestamp"] + timedelta(days=3),
    )
    path.unlink()
    pd.concat([trend, corrected]).to_parquet(path, coerce_timestamps="us")
    feature_store.apply(settings, objects(settings))
    entity = cells(settings).head(1)
    instants = [pd.Timestamp(week_opens(30)) + timedelta(days=d) for d in (2, 5)]
    rows = pd.concat([entity] * 2, ignore_index=True).assign(event_timestamp=instants)
    before, after = feature_store.historical_features(settings, entities=rows, service=DEMAND_SERVING)[
        "outlet_baskets_4w"
    ]
    assert (
        before == trend.merge(entity[["outlet_id"]]).set_index("event_timestamp")["outlet_baskets_4w"][week_opens(30)]
    )
    assert after == before + 100


def test_an_entity_that_no_store_knows_is_not_found(either_home):
    settings = either_home.settings
    known = cells(settings).iloc[0].to_dict()
    strangers = [known | {"outlet_id": "no-such-outlet"}, known | {"ppg_id": "no-such-ppg"}]
    got = feature_store.online_features(settings, service=DEMAND_SERVING, entities=[known, *strangers])
    assert got.found.tolist() == [True, False, False]
    assert np.isnat(got.event_timestamps["outlet_ppg_sales"]).tolist() == [False, True, True]
    assert np.isnat(got.event_timestamps["outlet_trend"]).tolist() == [False, True, False]
    assert np.isnan(frame_of(got)["transactions_lag_1"]).tolist() == [False, True, True]
    assert np.isnan(frame_of(got)["outlet_baskets_4w"]).tolist() == [False, True, False]


def test_rows_are_read_online_in_the_order_they_are_asked_for(either_home):
    settings = either_home.settings
    entities = cells(settings).sample(30, random_state=8).to_dict("records")
    forth = feature_store.online_features(settings, service=DEMAND_SERVING, entities=entities)
    back = feature_store.online_features(settings, service=DEMAND_SERVING, entities=[*entities[::-1], entities[0]])
    expected = frame_of(forth).iloc[[*range(29, -1, -1), 0]].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame_of(back), expected, check_exact=True)


def test_a_service_that_is_not_registered_is_named_with_what_to_do(small_home):
    with pytest.raises(feature_store.FeatureStoreError, match="no_such_service is not in the registry: run `poplift"):
        feature_store.OnlineReader(small_home.settings, service="no_such_service")


def test_materialising_twice_leaves_the_same_online_values(tmp_path, small_home):
    settings = copy_of(small_home, tmp_path)
    feature_store.apply(settings, objects(settings))
    entities = cells(settings).to_dict("records")
    answers = []
    for _ in range(2):
        feature_store.materialize(settings)
        answers.append(feature_store.online_features(settings, service=DEMAND_SERVING, entities=entities))
    first, second = answers
    assert first.found.all()
    pd.testing.assert_frame_equal(frame_of(first), frame_of(second), check_exact=True)


def test_applying_twice_changes_nothing_and_what_was_retired_before_is_removed(tmp_path, small_home):
    settings = copy_of(small_home, tmp_path)
    everything = objects(settings)
    names = sorted(o.name for o in everything if hasattr(o, "features") or hasattr(o, "feature_view_projections"))
    feature_store.apply(settings, everything)
    feature_store.apply(settings, everything)
    assert registered(settings) == names
    gone = {DEMAND_TRAINING, "planned_activation"}
    left = [o for o in everything if o.name not in gone]
    with pytest.raises(BreakingChangeError, match=f"service {DEMAND_TRAINING} is gone, and its readers were not told"):
        feature_store.apply(settings, left)
    assert registered(settings) == names
    told = objects(settings)
    next(o for o in told if o.name == DEMAND_TRAINING).tags = {RETIRED: "nobody trains on it since May"}
    feature_store.apply(settings, told)
    feature_store.apply(settings, left)
    assert registered(settings) == [n for n in names if n not in gone]
    feature_store.apply(settings, everything)
    assert registered(settings) == names


@pytest.fixture
def engine(small_home, monkeypatch):
    """The product's engine over the small home, and the tasks that it hands on to Feast's own."""
    from feast.infra.compute_engines.local.compute import LocalComputeEngine
    from feast.infra.offline_stores.duckdb import DuckDBOfflineStore

    from feature_repo.engine import BusinessTimeEngine

    handed = []
    monkeypatch.setattr(LocalComputeEngine, "_materialize_one", lambda self, registry, task, **kw: handed.append(task))
    store = feature_store.open_store(small_home.settings)
    return BusinessTimeEngine(repo_config=store.config, offline_store=DuckDBOfflineStore(), online_store=None), handed


def task(small_home, start, end):
    from feast.infra.common.materialization_job import MaterializationTask

    view = feature_store.open_store(small_home.settings).get_feature_view("outlet_trend")
    return MaterializationTask(project="small", feature_view=view, start_time=start, end_time=end, tqdm_builder=None)


def test_an_interval_that_ends_after_business_time_is_refused_with_the_command_that_works(small_home, engine):
    from feature_repo.interval import FutureIntervalError

    business_time = small_home.settings.business_time
    late = task(small_home, business_time - timedelta(days=9), business_time + timedelta(seconds=1))
    said = r"outlet_trend: .* until 2018-01-02T05:00:01.* materialize-incremental 2018-01-02T05:00:00"
    with pytest.raises(FutureIntervalError, match=said):
        engine[0]._materialize_one(None, late)
    assert engine[1] == []


def test_an_interval_that_starts_after_its_end_is_mended_to_the_age_limit(small_home, engine):
    business_time = small_home.settings.business_time
    wall = datetime(2026, 11, 1, tzinfo=UTC)
    sound = task(small_home, business_time - timedelta(days=2), business_time)
    engine[0]._materialize_one(None, task(small_home, wall, business_time))
    engine[0]._materialize_one(None, sound)
    mended, kept = engine[1]
    assert (mended.start_time, mended.end_time) == (business_time - VIEWS[0].ttl, business_time)
    assert kept == sound


def test_readers_of_the_local_online_store_are_not_locked_out_by_a_write(small_home):
    file = small_home.settings.home / "online.db"
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.execute("BEGIN IMMEDIATE")
        entity = cells(small_home.settings).iloc[0].to_dict()
        got = feature_store.online_features(small_home.settings, service=DEMAND_SERVING, entities=[entity])
        connection.rollback()
    assert got.found.all()


def test_opening_the_store_does_not_silence_the_metrics_of_the_process(small_home):
    """Also where the definitions imported Feast before: what it does to the environment, every child would inherit."""
    program = (
        "import os, feature_repo.definitions.repository\nfrom pathlib import Path\nfrom poplift.feature_store import open_store\n"
        "from poplift.settings import load_settings\n"
        f"open_store(load_settings(home=Path({str(small_home.settings.home)!r}), database_prefix='small'))\n"
        "import sys\nsys.exit(', '.join(k for k in os.environ if k.startswith('PROMETHEUS')) or None)"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PROMETHEUS")}  # noqa: TID251 # a clean child
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
