"""What was served is recomputed as of then: untouched nothing differs, and a tampered value is found and named."""

import os
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from feature_repo.catalog import BATCH_FEATURES, VIEWS
from flows.steps.monitor import served_skew
from poplift import feature_store
from poplift.clock import wall_now
from poplift.settings import load_settings
from serving.decision_log import DecisionLog, decision_row
from serving.metrics import Metrics
from serving.online import FeastReader, read_rows
from tests.integration.conftest import SmallHome

RELEASE = {"id": "r1", "model_name": "demand", "model_version": "1", "policy": "p"}


@pytest.fixture
def home(tmp_path, small_home):
    """The small home's tables, made an hour ago, registered and materialised in a home of their own."""
    from feature_repo.definitions.repository import objects

    settings = load_settings(home=tmp_path / "var", database_prefix="skew")
    settings.home.mkdir()
    settings.features_dir.mkdir()
    for path in small_home.settings.features_dir.iterdir():
        if path.is_dir() and not path.name.startswith("."):
            copy = settings.features_dir / path.name
            copy.mkdir()
            for file in path.glob("*.parquet"):
                (copy / file.name).write_bytes(file.read_bytes())
                hour_ago = wall_now().timestamp() - 3600
                os.utime(copy / file.name, (hour_ago, hour_ago))
    feature_store.apply(settings, objects(settings))
    feature_store.materialize(settings)
    return SmallHome(settings, small_home.source)


def cells(settings):
    table = pd.read_parquet(settings.features_dir / "outlet_ppg_sales", columns=["outlet_id", "ppg_id"])
    return table.drop_duplicates().to_dict("records")


def serve(settings, entities):
    """Read as serving does and log as serving does."""
    rows = read_rows(FeastReader(settings), entities, business_time=settings.business_time, defaults={})
    log = DecisionLog(settings.decisions_dir, metrics=Metrics())
    log.start()
    for number, entity in enumerate(entities):
        row = decision_row(
            decision_id=f"decision-{number}",
            kind="demand",
            request_id="q",
            business_time=settings.business_time.isoformat(),
            week_start="2018-01-01",
            release=RELEASE,
            entity=entity,
            chosen={},
            candidates=[],
            features={
                name: None if np.isnan(value := rows.column(name)[number]) else float(value) for name in BATCH_FEATURES
            },
            quality={"flags": list(rows.flags[number])},
        )
        log.append([row])
    log.close()


def tamper(settings, view, feature, entity, value):
    """Somebody writes another value of one feature to the online store, as known a second later."""
    store = feature_store.open_store(settings)
    frame = pd.read_parquet(settings.features_dir / view)
    newest = frame[frame["event_timestamp"] == frame["event_timestamp"].max()]
    keys = next(v.entities for v in VIEWS if v.name == view)
    row = newest[(newest[list(keys)] == pd.Series({k: entity[k] for k in keys})).all(axis=1)].copy()
    row[feature] = value
    row["created_timestamp"] += timedelta(seconds=1)
    store.write_to_online_store(view, df=row)


def test_what_is_served_is_what_training_sees(home):
    serve(home.settings, cells(home.settings))
    found = served_skew(home.settings)
    assert found.differing == {}
    assert (found.vectors, found.compared) == (108, 108 * len(BATCH_FEATURES))  # every second of 216


def test_a_tampered_online_value_is_found_and_named(home):
    entities = cells(home.settings)
    entity = entities[0]
    tamper(home.settings, "outlet_trend", "outlet_baskets_4w", entity, 12345.5)
    serve(home.settings, entities)
    found = served_skew(home.settings)
    assert set(found.differing) == {"outlet_trend.outlet_baskets_4w"}
    assert found.state == "breach"
    (reason,) = found.reasons
    assert f"outlet {entity['outlet_id']}, ppg " in reason
    assert "got 12345.5 online and has " in reason
    assert all(d.online == 12345.5 for d in found.differences)
    assert not np.isnan(found.differences[0].offline)


def test_decisions_from_before_a_table_was_made_anew_are_not_held_against_it(home):
    serve(home.settings, cells(home.settings)[:5])
    for file in home.settings.features_dir.rglob("*.parquet"):
        file.touch()
    assert served_skew(home.settings).vectors == 0


def test_nothing_served_is_no_skew(home):
    assert served_skew(home.settings).vectors == 0
