"""What serving reads online is what training would have seen at that instant, to the last bit."""

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from feature_repo import running
from feature_repo.build import build, table_path
from feature_repo.catalog import (
    BATCH_FEATURES,
    DEMAND_SERVING,
    DEMAND_TRAINING,
    ON_DEMAND,
    ON_DEMAND_INPUTS,
    REQUEST_FIELDS,
    VIEWS,
)
from feature_repo.definitions.repository import objects
from feature_repo.transformations.planned_activation import planned_activation
from poplift import feature_store
from poplift.lake import Lake
from poplift.settings import load_settings
from poplift.sources.complete_journey import week_opens

KEYS = ["outlet_id", "ppg_id"]
PLANNED = [f.name for f in ON_DEMAND]
REQUEST = [f.name for f in REQUEST_FIELDS]


def served(settings):
    """Every outlet and ppg that has features, in an order that no store keeps by itself."""
    cells = pd.read_parquet(table_path(settings.features_dir, "outlet_ppg_sales"), columns=KEYS)
    return cells.drop_duplicates().sample(frac=1, random_state=5, ignore_index=True)


def offline(settings, entities):
    instant = pd.Timestamp(settings.business_time)
    asked = entities.assign(event_timestamp=instant)
    return feature_store.historical_features(settings, entities=asked, service=DEMAND_SERVING)


def online(settings, entities):
    reader = feature_store.OnlineReader(settings, service=DEMAND_SERVING)
    return reader.read(entities[KEYS].to_dict("records"))


def frame_of(found):
    """The values read online, one column per feature."""
    return pd.DataFrame(dict(found.values))  # not a frame yet


def assert_same(settings):
    """Online equals offline for every served entity; returns how many there were."""
    entities = served(settings)
    then, now = offline(settings, entities), online(settings, entities)
    assert now.found.all()
    expected = then[list(BATCH_FEATURES)].astype("float64")
    pd.testing.assert_frame_equal(frame_of(now)[list(BATCH_FEATURES)], expected, check_exact=True)
    return len(entities)


def test_every_served_entity_has_online_the_features_it_has_offline(either_home):
    assert assert_same(either_home.settings) == 8 * 27


def test_the_age_of_online_features_is_that_of_the_newest_known_row(either_home):
    settings = either_home.settings
    now = online(settings, served(settings))
    for view in VIEWS:
        table = pd.read_parquet(table_path(settings.features_dir, view.name))
        newest = table["event_timestamp"].max().tz_localize(None).to_datetime64()
        assert set(now.event_timestamps[view.name]) == {newest.astype("datetime64[us]")}


@pytest.mark.parametrize("store", ["sqlite", pytest.param("redis", marks=pytest.mark.services)])
def test_online_follows_offline_from_one_week_to_the_next(tmp_path, small_home, store, request):
    """A week later only the new rows are written, and nothing of the week before is left to be read."""
    own = {"database_prefix": "weeks"}
    if store == "redis":
        own = {
            "database_prefix": request.getfixturevalue("redis_prefix"),
            "redis_url": request.getfixturevalue("redis_url"),
        }
    lake = Lake(small_home.settings.lake_dir)
    seen = []
    for week in (53, 54):
        instant = week_opens(week) + timedelta(days=1)
        settings = load_settings(home=tmp_path, business_time=instant, **own)
        build(lake, features_dir=settings.features_dir, as_of=instant)
        running.write_table(lake, features_dir=settings.features_dir, as_of=instant)
        feature_store.apply(settings, objects(settings))
        feature_store.materialize(settings)
        assert_same(settings)
        entities = served(settings).sort_values(KEYS, ignore_index=True)
        seen.append(frame_of(online(settings, entities))["transactions_lag_1"])
    assert np.array_equal(frame_of(online(settings, entities))["transactions_lag_2"], seen[0])
    assert not np.array_equal(seen[0], seen[1])


def plans(entities):
    """A different plan for every entity, with and without display, mailer and price."""
    draw = np.random.default_rng(3)
    size = len(entities)
    return entities.assign(
        planned_display=draw.integers(0, 2, size),
        planned_mailer=draw.integers(0, 2, size),
        planned_price=draw.uniform(0.2, 6.0, size),
        planned_week_start_day=draw.integers(17_167, 17_540, size),
    )


def directly(inputs):
    return planned_activation(inputs[[*REQUEST, *ON_DEMAND_INPUTS]])


def test_feast_computes_the_planned_activation_online_as_serving_does(either_home):
    settings = either_home.settings
    asked = plans(served(settings))
    store = feature_store.open_store(settings)
    answer = store.get_online_features(
        features=store.get_feature_service(DEMAND_TRAINING), entity_rows=asked.to_dict("records")
    ).to_df()
    batch = frame_of(online(settings, asked))
    expected = directly(pd.concat([asked, batch], axis=1))
    pd.testing.assert_frame_equal(answer[PLANNED], expected[PLANNED], check_exact=True)


def test_feast_computes_the_planned_activation_for_training_as_serving_does(small_home):
    settings = small_home.settings
    draw = np.random.default_rng(4)
    weeks = draw.integers(14, 54, 216)
    asked = plans(served(settings)).assign(
        event_timestamp=[pd.Timestamp(week_opens(int(w)) + timedelta(days=1)) for w in weeks]
    )
    answer = feature_store.historical_features(settings, entities=asked, service=DEMAND_TRAINING)
    expected = directly(answer)
    pd.testing.assert_frame_equal(answer[PLANNED], expected[PLANNED], check_exact=True)
    assert answer["plan_expected_rate"].nunique() > 100


def test_a_feature_table_that_lost_a_row_is_told_from_the_online_store(tmp_path, small_home):
    """The comparison above can fail: one online value behind the offline one is found."""
    settings = load_settings(home=tmp_path, database_prefix="small")
    source, copy = (sqlite3.connect(home / "online.db") for home in (small_home.settings.home, tmp_path))
    with closing(source), closing(copy):
        source.backup(copy)  # a copied file would miss what is still in the write-ahead log
    shutil.copytree(small_home.settings.features_dir, settings.features_dir)
    feature_store.apply(settings, objects(settings))
    path = table_path(settings.features_dir, "outlet_trend")
    table = pd.read_parquet(path)
    newest = table["event_timestamp"] == table["event_timestamp"].max()
    table.loc[newest, "outlet_baskets_4w"] += 1e-9
    shutil.rmtree(path)
    table.to_parquet(path, coerce_timestamps="us")
    with pytest.raises(AssertionError, match="outlet_baskets_4w"):
        assert_same(settings)
