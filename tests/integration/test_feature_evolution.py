"""A breaking change goes beside what it breaks: both versions are built, registered, filled and read at once."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from feature_repo.build import build
from feature_repo.catalog import DEMAND_SERVING, DEMAND_TRAINING, VIEWS, EarlierService, Feature
from poplift import feature_store
from poplift.feature_evolution import BreakingChangeError
from poplift.lake import Lake
from poplift.settings import load_settings

OLD = next(v for v in VIEWS if v.name == "outlet_trend")
OTHERS = tuple(v for v in VIEWS if v is not OLD)


def twice(sources):
    """The features of the view before, counted otherwise."""
    table = OLD.build(sources)
    return table.mutate(**{f.name: table[f.name] * 2 for f in OLD.features})


NEW = dataclasses.replace(OLD, name="outlet_trend_v2", build=twice)


def with_catalog(monkeypatch, views, earlier=(), services=(), version="v1"):
    """The catalog as if it had been edited."""
    for name, value in {
        "build.BUILT": (*views, *earlier),
        "definitions.repository.BUILT": (*views, *earlier),
        "definitions.repository.VIEWS": views,
        "definitions.repository.EARLIER_SERVICES": services,
        "definitions.repository.DEMAND_SERVING": f"demand_serving_{version}",
        "definitions.repository.DEMAND_TRAINING": f"demand_training_{version}",
    }.items():
        monkeypatch.setattr(f"feature_repo.{name}", value)


def refresh(settings):
    from feature_repo import running
    from feature_repo.definitions.repository import objects

    lake = Lake(settings.lake_dir)
    build(lake, features_dir=settings.features_dir, as_of=settings.business_time)
    running.write_table(lake, features_dir=settings.features_dir, as_of=settings.business_time)
    feature_store.apply(settings, objects(settings))
    feature_store.materialize(settings)


def filled(folder, small_home):
    """A home of its own on the small home's lake, filled with the catalog as it is."""
    settings = load_settings(home=folder, database_prefix="evolve")
    settings.home.mkdir()
    settings.lake_dir.symlink_to(small_home.settings.lake_dir)
    refresh(settings)
    return settings


@pytest.fixture
def home(tmp_path, small_home):
    """A home that a test may change."""
    return filled(tmp_path / "var", small_home)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory, small_home):
    """A home for what is refused: it is found as it was."""
    return filled(tmp_path_factory.mktemp("untouched") / "var", small_home)


def read(settings, service):
    cells = pd.read_parquet(settings.features_dir / "outlet_ppg_sales", columns=["outlet_id", "ppg_id"])
    entities = cells.drop_duplicates().to_dict("records")
    return pd.DataFrame(
        dict(feature_store.online_features(settings, service=service, entities=entities).values)  # no frame
    )


def registered(settings):
    store = feature_store.open_store(settings)
    return {o.name for o in (*store.list_feature_services(), *store.list_all_feature_views())}


def test_old_and_new_versions_are_served_side_by_side_until_the_old_one_is_retired(home, monkeypatch):
    before = read(home, DEMAND_SERVING)
    old_views = tuple(v.name for v in VIEWS)
    kept = (EarlierService(DEMAND_SERVING, old_views), EarlierService(DEMAND_TRAINING, old_views, with_plan=True))
    with_catalog(monkeypatch, (*OTHERS, NEW), (OLD,), kept, version="v2")
    refresh(home)
    pd.testing.assert_frame_equal(read(home, DEMAND_SERVING), before, check_exact=True)
    new = read(home, "demand_serving_v2")
    names = [f.name for f in OLD.features]
    np.testing.assert_array_equal(new[names].to_numpy(), 2 * before[names].to_numpy())
    pd.testing.assert_frame_equal(new.drop(columns=names), before.drop(columns=names), check_like=True)

    told = tuple(dataclasses.replace(s, retired="every API runs v2") for s in kept)
    with_catalog(monkeypatch, (*OTHERS, NEW), (OLD,), told, version="v2")
    refresh(home)
    with_catalog(monkeypatch, (*OTHERS, NEW), version="v2")
    refresh(home)
    assert not {DEMAND_SERVING, DEMAND_TRAINING, OLD.name} & registered(home)
    pd.testing.assert_frame_equal(read(home, "demand_serving_v2"), new, check_exact=True, check_like=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": OLD.features[1:]}, "feature outlet_trend.outlet_baskets_4w is gone"),
        (
            {"features": (Feature("outlet_baskets_month", "Renamed", "baskets/week"), *OLD.features[1:])},
            "feature outlet_trend.outlet_baskets_4w is gone",
        ),
        ({"entities": ("outlet_id", "ppg_id")}, "the entities were outlet and are outlet, ppg"),
        ({"ttl": OLD.ttl / 3}, "the age limit was 21 days, 0:00:00 and is 7 days, 0:00:00"),
        ({"name": "outlet_trend_v2"}, "view outlet_trend is gone"),
    ],
    ids=["dropped", "renamed", "re-grained", "age limit shortened", "view renamed"],
)
def test_a_breaking_change_in_place_is_refused_and_changes_nothing(untouched, monkeypatch, change, said):
    from feature_repo.definitions.repository import objects

    before = feature_store.open_store(untouched).get_feature_view(OLD.name)
    with_catalog(monkeypatch, (*OTHERS, dataclasses.replace(OLD, **change)))
    with pytest.raises(BreakingChangeError) as refused:
        feature_store.apply(untouched, objects(untouched))
    assert f"service {DEMAND_SERVING}: " in str(refused.value)
    assert said in str(refused.value)
    assert "docs/how-to/change-a-feature.md" in str(refused.value)
    assert feature_store.open_store(untouched).get_feature_view(OLD.name) == before


def test_the_step_refuses_before_a_table_is_touched(untouched, monkeypatch):
    from flows.steps.features import refresh_features

    monkeypatch.setattr(feature_store, "render", lambda settings: None)  # the checkout's file is somebody else's
    before = {path: path.stat().st_mtime_ns for path in untouched.features_dir.rglob("*")}
    with_catalog(monkeypatch, (*OTHERS, dataclasses.replace(OLD, features=OLD.features[1:])))
    with pytest.raises(BreakingChangeError, match="outlet_baskets_4w is gone"):
        refresh_features(untouched)
    assert {path: path.stat().st_mtime_ns for path in untouched.features_dir.rglob("*")} == before


def test_a_retyped_feature_is_refused(untouched):
    from feast import Field
    from feast.types import Int64

    from feature_repo.definitions.repository import objects

    defined = objects(untouched)
    view = next(o for o in defined if o.name == OLD.name)
    view.features = [Field(name=f.name, dtype=Int64) for f in view.features]
    with pytest.raises(BreakingChangeError, match=r"outlet_trend\.outlet_baskets_4w was Float64 and is Int64"):
        feature_store.apply(untouched, defined)
