"""What is read online is judged by its age at business time, and planned activations become model inputs."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from feature_repo.catalog import BATCH_FEATURES, MODEL_FEATURES, VIEWS
from poplift.activation import Activation
from serving.online import (
    coming_week_start_day,
    model_inputs,
    read_rows,
)

NOW = datetime(2018, 1, 2, 5, tzinfo=UTC)
ENTITY = {"outlet_id": "367", "ppg_id": "m1-soft-drinks-3"}
DEFAULTS = dict.fromkeys(MODEL_FEATURES, -1.0)


def read(store: Any, *entities: dict[str, str], at: datetime = NOW) -> Any:
    return read_rows(store, entities or [ENTITY], business_time=at, defaults=DEFAULTS)


def test_every_batch_feature_is_read_in_the_order_asked(store: Any) -> None:
    rows = read(store, ENTITY, ENTITY | {"outlet_id": "406"})
    assert rows.cells.shape == (2, len(BATCH_FEATURES))
    assert rows.column("transactions_lag_1").tolist() == [
        store.rows["outlet_ppg_sales", outlet, ENTITY["ppg_id"]]["transactions_lag_1"] for outlet in ("367", "406")
    ]
    assert rows.unknown == (None, None)


def test_a_missing_value_of_a_fresh_view_stays_missing_and_is_counted(store: Any) -> None:
    store.rows["outlet_trend", "367"]["outlet_baskets_4w"] = np.nan
    store.rows["outlet_trend", "367"]["outlet_baskets_13w"] = np.inf
    rows = read(store)
    assert np.isnan([rows.column("outlet_baskets_4w"), rows.column("outlet_baskets_13w")]).all()
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
    own = {f.name for f in view.features}
    assert all((rows.column(name) == -1.0).all() == (name in own) for name in BATCH_FEATURES)


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
    cells = model_inputs(rows.cells, plans, week_start_day=coming_week_start_day(NOW))
    inputs = dict(zip(MODEL_FEATURES, cells.T, strict=True))
    assert inputs["plan_display"].tolist() == [0.0, 1.0, 0.0]
    assert inputs["plan_mailer"].tolist() == [0.0, 0.0, 1.0]
    np.testing.assert_allclose(inputs["plan_depth"], [0.0, 0.0, 0.2], atol=1e-12)
    np.testing.assert_array_equal(cells[:, : len(BATCH_FEATURES)], rows.cells)


def test_a_plan_per_row_gives_what_parallel_plans_give(store: Any) -> None:
    cells = read(store, ENTITY, ENTITY | {"outlet_id": "406"}, ENTITY).cells
    plans = [Activation(price_cut=0.3), Activation(mailer=True)]
    chosen = np.array([1, 0, 1])
    day = coming_week_start_day(NOW)
    expected = model_inputs(cells, [plans[k] for k in chosen], week_start_day=day)
    np.testing.assert_array_equal(model_inputs(cells, plans, chosen=chosen, week_start_day=day), expected)


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
