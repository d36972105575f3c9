"""What is read online is judged by its age at business time, and planned activations become model inputs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from feature_repo.catalog import BATCH_FEATURES, MODEL_FEATURES, VIEWS
from serving.online import (
    BoundedReader,
    StoreUnavailableError,
    coming_week_start_day,
    model_inputs,
    read_rows,
)
from serving.policy import Activation

NOW = datetime(2018, 1, 2, 5, tzinfo=UTC)
ENTITY = {"outlet_id": "367", "ppg_id": "m1-soft-drinks-3"}
DEFAULTS = dict.fromkeys(MODEL_FEATURES, -1.0)


def read(store: Any, *entities: dict[str, str], at: datetime = NOW) -> Any:
    return read_rows(store, entities or [ENTITY], business_time=at, defaults=DEFAULTS)


def test_every_batch_feature_is_read_in_the_order_asked(store: Any) -> None:
    rows = read(store, ENTITY, ENTITY | {"outlet_id": "406"})
    assert list(rows.frame.columns) == list(BATCH_FEATURES)
    assert rows.frame["transactions_lag_1"].tolist() == [
        store.rows["outlet_ppg_sales", outlet, ENTITY["ppg_id"]]["transactions_lag_1"] for outlet in ("367", "406")
    ]
    assert rows.unknown == (None, None)


def test_a_missing_value_of_a_fresh_view_stays_missing_and_is_counted(store: Any) -> None:
    store.rows["outlet_trend", "367"]["outlet_baskets_4w"] = np.nan
    store.rows["outlet_trend", "367"]["outlet_baskets_13w"] = np.inf
    rows = read(store)
    assert rows.frame[["outlet_baskets_4w", "outlet_baskets_13w"]].isna().all(axis=None)
    assert rows.missing["outlet_trend"] == 2
    assert rows.flags == (("gaps:outlet_trend",),)
    assert not rows.degraded[0]


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: v.name)
def test_hard_age_replaces_the_view_by_its_defaults_and_says_so(store: Any, view: Any) -> None:
    store.events[view.name] = np.datetime64(NOW.replace(tzinfo=None) - view.ttl, "us")
    assert read(store).flags == ((f"stale:{view.name}",),)
    store.events[view.name] -= np.timedelta64(1, "us")
    rows = read(store)
    assert rows.flags == ((f"expired:{view.name}",),)
    assert rows.degraded[0]
    assert (rows.frame[[f.name for f in view.features]] == -1.0).all(axis=None)
    assert (rows.frame.drop(columns=[f.name for f in view.features]) >= 0).all(axis=None)


def test_a_row_from_after_business_time_is_not_used(store: Any) -> None:
    store.events["ppg_trend"] = np.datetime64("2018-01-02T05:00:01", "us")
    rows = read(store)
    assert rows.flags == (("future:ppg_trend",),)
    assert rows.degraded[0]


def test_an_absent_view_of_a_known_entity_is_degraded_not_unknown(store: Any) -> None:
    del store.rows["outlet_trend", "367"]
    rows = read(store)
    assert rows.unknown == (None,)
    assert rows.flags == (("missing:outlet_trend",),)
    assert rows.degraded[0]


def test_what_no_view_knows_is_unknown_with_its_reason(store: Any) -> None:
    rows = read(store, {"outlet_id": "x", "ppg_id": "y"}, ENTITY | {"ppg_id": "y"}, ENTITY | {"outlet_id": "x"})
    assert rows.unknown == (
        "neither outlet 'x' nor ppg 'y' is in the feature store",
        "ppg 'y' is not in the feature store",
        "outlet 'x' is not in the feature store",
    )


def test_planned_activations_become_the_features_the_model_was_trained_on(store: Any) -> None:
    rows = read(store, ENTITY, ENTITY, ENTITY)
    plans = [Activation(), Activation(display=True), Activation(mailer=True, price_cut=0.2)]
    inputs = model_inputs(rows.frame, plans, week_start_day=coming_week_start_day(NOW))
    assert set(inputs.columns) == set(MODEL_FEATURES)
    assert inputs["plan_display"].tolist() == [0.0, 1.0, 0.0]
    assert inputs["plan_mailer"].tolist() == [0.0, 0.0, 1.0]
    np.testing.assert_allclose(inputs["plan_depth"], [0.0, 0.0, 0.2], atol=1e-12)
    pd.testing.assert_frame_equal(inputs[list(BATCH_FEATURES)], rows.frame)


@pytest.mark.parametrize(
    ("business_time", "monday"),
    [
        ("2018-01-02T05:00", "2018-01-01"),
        ("2018-01-02T04:59", "2017-12-25"),
        ("2018-01-08T12:00", "2018-01-01"),
        ("2018-01-09T05:00", "2018-01-08"),
        ("2017-07-04T04:00", "2017-07-03"),
    ],
)
def test_the_coming_week_opens_when_the_sales_of_the_last_one_have_landed(business_time: str, monday: str) -> None:
    day = coming_week_start_day(datetime.fromisoformat(business_time).replace(tzinfo=UTC))
    assert np.datetime64(day, "D") == np.datetime64(monday)


def test_the_deadline_of_a_read_is_kept_and_the_cause_is_named(store: Any) -> None:
    reader = BoundedReader(store, deadline=timedelta(seconds=0.05), workers=1)
    try:
        assert reader.read([ENTITY]).found.all()
        store.failure = OSError("disk gone")
        with pytest.raises(StoreUnavailableError, match="OSError: disk gone"):
            reader.read([ENTITY])
    finally:
        reader.close()
