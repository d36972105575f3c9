"""Through Feast: a late correction leaves old training sets as they were, and a backfill fills a new feature online."""

import dataclasses
import shutil
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from feature_repo import running
from feature_repo.build import build, sources
from feature_repo.catalog import BATCH_FEATURES, DEMAND_SERVING, VIEWS
from poplift import feature_store
from poplift.lake import Lake
from poplift.settings import load_settings
from poplift.sources.complete_journey import week_opens

KEYS = ["outlet_id", "ppg_id"]
BEFORE = week_opens(51) + timedelta(days=1)
KNOWN = week_opens(51) + timedelta(days=4)
CORRECTED_WEEK = 48


@pytest.fixture
def home(tmp_path, small_home):
    """A home of its own with the small home's lake, standing before the correction was known."""
    settings = load_settings(home=tmp_path / "var", database_prefix="late", business_time=BEFORE)
    shutil.copytree(small_home.settings.lake_dir, settings.lake_dir)
    return settings


def registered(settings):
    from feature_repo.definitions.repository import objects

    build(Lake(settings.lake_dir), features_dir=settings.features_dir, as_of=settings.business_time)
    running.write_table(Lake(settings.lake_dir), features_dir=settings.features_dir, as_of=settings.business_time)
    feature_store.apply(settings, objects(settings))


def training_set(settings, as_of):
    from training import dataset

    tables = sources(Lake(settings.lake_dir), as_of=as_of)

    def join(*, entities, service):
        return feature_store.historical_features(settings, entities=entities, service=service)

    return dataset.build(tables, join=join, as_of=as_of)


def correct(settings):
    """Every line of the corrected week that was sold at the busiest outlet was sold at another one, it turns out."""
    lake = Lake(settings.lake_dir)
    lines = lake.read("pos_lines", as_of=BEFORE).to_pandas().query("week == @CORRECTED_WEEK")
    managed = sorted(lake.read("outlets", as_of=BEFORE).to_pandas().query("is_managed").outlet_id)
    busiest = lines[lines.outlet_id.isin(managed)].outlet_id.value_counts().index[0]
    other = next(outlet for outlet in managed if outlet != busiest)
    moved = lines[lines.outlet_id == busiest].assign(outlet_id=other, created_at=pd.Timestamp(KNOWN))
    lake.connection.register("moved", moved)
    lake.append("pos_lines", "SELECT * FROM moved")
    return busiest, other


def test_training_sets_before_and_after_a_late_correction(home):
    registered(home)
    before = training_set(home, BEFORE)
    outlets = correct(home)
    later = home.model_copy(update={"business_time": week_opens(54) + timedelta(days=1)})
    registered(later)
    again, new = training_set(later, BEFORE), training_set(later, later.business_time)
    pd.testing.assert_frame_equal(again.frame, before.frame, check_exact=True)
    assert again.pins == before.pins

    keys = ["week", *KEYS]
    common = new.frame.merge(before.frame[keys]).sort_values(keys, ignore_index=True)
    old = before.frame.sort_values(keys, ignore_index=True)
    changed = common[(common["transactions"] != old["transactions"])]
    assert set(changed["week"]) == {CORRECTED_WEEK}
    assert set(changed["outlet_id"]) == set(outlets)
    features = list(BATCH_FEATURES)
    pd.testing.assert_frame_equal(common[features], old[features], check_exact=True)  # nobody knew, at any decision


def test_decisions_after_the_correction_are_trained_on_what_was_known_by_then(home, small_home):
    registered(home)
    outlets = correct(home)
    later = home.model_copy(update={"business_time": small_home.settings.business_time})
    registered(later)
    instants = [week_opens(week) + timedelta(days=1) for week in (51, 52, 53)]
    cells = pd.DataFrame({"outlet_id": list(outlets)}).merge(
        training_cells(small_home.settings)[["ppg_id"]].drop_duplicates(), how="cross"
    )
    asked = cells.merge(pd.DataFrame({"event_timestamp": instants}), how="cross")
    corrected, uncorrected = (
        feature_store.historical_features(s, entities=asked, service=DEMAND_SERVING)["transactions_mean_13w"]
        for s in (later, small_home.settings)
    )
    differs = pd.Series(corrected.to_numpy() != uncorrected.to_numpy()).groupby(asked["event_timestamp"]).any()
    assert differs.to_list() == [False, True, True]


def frame_of(online):
    """The values read online, one column per feature."""
    return pd.DataFrame(dict(online.values))  # not a frame yet


def training_cells(settings):
    return pd.read_parquet(settings.features_dir / "outlet_ppg_sales", columns=KEYS).drop_duplicates()


@pytest.mark.parametrize("store", ["sqlite", pytest.param("redis", marks=pytest.mark.services)])
def test_a_backfill_fills_a_new_feature_of_every_entity_online(
    tmp_path, small_home, store, request, monkeypatch, *, command
):
    own = {"database_prefix": "grown"}
    if store == "redis":
        own = {n: request.getfixturevalue(f) for n, f in (("database_prefix", "redis_prefix"), ("redis_url",) * 2)}
    settings = load_settings(home=tmp_path / "var", **own)
    settings.home.mkdir()
    settings.lake_dir.symlink_to(small_home.settings.lake_dir)
    monkeypatch.setattr(feature_store, "render", lambda settings: None)  # the checkout's file is somebody else's
    with monkeypatch.context() as yesterday:
        view = next(v for v in VIEWS if v.name == "ppg_trend")
        smaller = dataclasses.replace(
            view, features=view.features[:-1], build=lambda tables: view.build(tables).drop(view.features[-1].name)
        )
        catalog = tuple(smaller if v.name == view.name else v for v in VIEWS)
        for module in ("build.BUILT", "definitions.repository.BUILT", "definitions.repository.VIEWS"):
            yesterday.setattr(f"feature_repo.{module}", catalog)
        registered(settings)
        feature_store.materialize(settings)
    told = command(settings, "backfill", view.name, "--from", "52", "--to", "53").splitlines()
    assert told[-3] == "    feast materialize"
    assert "ppg_trend, weeks 52 to 53: " in told[-1]
    assert told[-1].endswith("there was no table with these columns before; the newest are online")
    cells = training_cells(settings)
    asked = cells.assign(event_timestamp=pd.Timestamp(settings.business_time))
    expected = feature_store.historical_features(settings, entities=asked, service=DEMAND_SERVING)
    online = feature_store.online_features(settings, service=DEMAND_SERVING, entities=cells.to_dict("records"))
    new = view.features[-1].name
    filled = frame_of(online)[new].to_numpy()
    np.testing.assert_array_equal(filled, expected[new].to_numpy("float64"))
    assert not np.isnan(filled).any()
