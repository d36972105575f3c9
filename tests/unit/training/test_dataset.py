from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pandas as pd
import pytest

from feature_repo.catalog import DEMAND_TRAINING, MODEL_FEATURES, VIEWS
from feature_repo.transformations.planned_activation import planned_activation
from feature_repo.transformations.sources import Sources
from training.dataset import NOT_TOLD, TrainingSetError, build, targets
from training.outlet_groups import outlet_groups

START = datetime(2017, 1, 2, 5, tzinfo=UTC)
AS_OF = START + timedelta(weeks=18, days=1)


def _sources(altered_after=None):
    random = np.random.default_rng(2)
    weeks = pd.DataFrame({"week": range(1, 20), "starts_at": [START + timedelta(weeks=n) for n in range(19)]})
    weeks["closes_at"] = weeks["starts_at"] + pd.Timedelta(weeks=1)
    lines = pd.DataFrame(
        {
            "basket_id": [f"b{n}" for n in range(600)],
            "product_id": random.choice(["p1", "p2"], 600),
            "outlet_id": random.choice(["o1", "o2"], 600),
            "shopper_id": random.choice(["s1", "s2", "s3"], 600),
            "week": np.arange(600) % 18 + 1,
            "quantity": random.integers(1, 4, 600),
        }
    )
    if altered_after is not None:
        late = lines["week"] > altered_after
        lines.loc[late, "product_id"] = "p1"
    prices = pd.DataFrame([(p, w) for p in ("g1", "g2") for w in range(1, 19)], columns=["ppg_id", "week"])
    tables = {
        "pos_lines": lines,
        "promotions": pd.DataFrame(
            {
                "product_id": ["p1"],
                "outlet_id": ["o1"],
                "week": [15],
                "display_location": ["3"],
                "mailer_location": ["0"],
            }
        ),
        "products": pd.DataFrame({"product_id": ["p1", "p2"], "ppg_id": ["g1", "g2"], "category": "SOFT DRINKS"}),
        "outlets": pd.DataFrame({"outlet_id": ["o1", "o2"], "is_managed": True}),
        "weeks": weeks,
        "price_calendar": prices.assign(regular_price=2.0, planned_price=1.5),
    }
    connection = ibis.duckdb.connect()
    connection.raw_sql("SET TimeZone = 'UTC'")
    for name, frame in tables.items():
        connection.con.register(f"{name}_frame", frame)
        connection.raw_sql(f"CREATE TABLE {name} AS SELECT * FROM {name}_frame")
    return Sources(**{name: connection.table(name) for name in tables})


def _exact_join(sources):
    """The point-in-time join by its definition: the newest row created at or before each instant."""
    views = {v: v.build(sources).to_pandas() for v in VIEWS}

    def join(*, entities, service):
        assert service == DEMAND_TRAINING
        out = entities.assign(_row=np.arange(len(entities))).sort_values("event_timestamp")
        for view, rows in views.items():
            known = rows.drop(columns="event_timestamp").rename(columns={"created_timestamp": "event_timestamp"})
            known["event_timestamp"] = known["event_timestamp"].astype("datetime64[us, UTC]")
            out = pd.merge_asof(out, known.sort_values("event_timestamp"), on="event_timestamp", by=list(view.entities))
        out = out.sort_values("_row").drop(columns="_row").set_index(entities.index)
        return pd.concat([out, planned_activation(out)], axis=1)

    return join


@pytest.fixture(scope="module")
def built():
    sources = _sources()
    return build(sources, join=_exact_join(sources), as_of=AS_OF)


def test_there_is_a_row_for_every_cell_of_every_target_week_from_fourteen_on(built):
    expected = pd.MultiIndex.from_product([range(14, 19), ["o1", "o2"], ["g1", "g2"]])
    found = pd.MultiIndex.from_frame(built.frame[["week", "outlet_id", "ppg_id"]])
    assert list(found) == list(expected)
    assert not built.frame[list(MODEL_FEATURES)].isna().any().any()


def test_the_decision_falls_one_day_after_the_week_opens_and_sees_the_week_before(built):
    rows = built.frame.set_index(["outlet_id", "ppg_id", "week"])
    assert rows.loc[("o1", "g1", 14), "event_timestamp"] == pd.Timestamp(START + timedelta(weeks=13, days=1))
    for week in range(15, 19):
        assert rows.loc[("o1", "g1", week), "transactions_lag_1"] == rows.loc[("o1", "g1", week - 1), "transactions"]


def test_the_plan_of_the_target_week_is_in_the_row(built):
    rows = built.frame.set_index(["outlet_id", "ppg_id", "week"])
    assert rows.loc[("o1", "g1", 15), "plan_display"] == 1
    assert rows["plan_display"].sum() == 1
    assert (rows["plan_depth"] == 0.25).all()
    assert rows.loc[("o1", "g1", 14), "planned_week_start_day"] == np.datetime64("2017-04-03").astype(int)


def test_altering_a_week_changes_no_feature_of_it_or_of_an_earlier_one(built):
    sources = _sources(altered_after=16)
    other = build(sources, join=_exact_join(sources), as_of=AS_OF)
    until = built.frame["week"] <= 17
    pd.testing.assert_frame_equal(
        built.frame.loc[until, list(MODEL_FEATURES)], other.frame.loc[until, list(MODEL_FEATURES)], rtol=1e-9
    )
    assert not built.frame["transactions"].equals(other.frame["transactions"])
    assert built.pins["data_digest"] != other.pins["data_digest"]


def test_areas_and_formats_that_are_known_become_groups_of_outlets_and_no_feature(built):
    sources = _sources()
    profiles = pd.DataFrame({"outlet_id": ["o2", "o9"], "banner": ["kiosk", "hyper"], "area": ["town", "coast"]})
    told = build(sources, join=_exact_join(sources), as_of=AS_OF, profiles=profiles)
    groups = outlet_groups(told.frame)
    assert groups["outlet_area"].to_dict() == {"o1": NOT_TOLD, "o2": "town"}
    assert groups["outlet_format"].to_dict() == {"o1": NOT_TOLD, "o2": "kiosk"}
    pd.testing.assert_frame_equal(told.frame[built.frame.columns], built.frame)
    assert not {"outlet_area", "outlet_format"} & set(MODEL_FEATURES)


def test_the_same_data_has_the_same_digest(built):
    sources = _sources()
    assert build(sources, join=_exact_join(sources), as_of=AS_OF).pins == built.pins
    assert built.pins["rows"] == 20


def test_a_join_that_loses_a_row_is_refused():
    sources = _sources()
    exact = _exact_join(sources)
    with pytest.raises(TrainingSetError, match="20 rows went in, 19 came out"):
        build(sources, join=lambda **asked: exact(**asked).iloc[:-1], as_of=AS_OF)


def test_a_join_that_turns_rows_round_is_refused():
    sources = _sources()
    exact = _exact_join(sources)
    with pytest.raises(TrainingSetError, match="another order"):
        build(sources, join=lambda **asked: exact(**asked).iloc[::-1], as_of=AS_OF)


def test_a_join_without_a_feature_names_it():
    sources = _sources()
    exact = _exact_join(sources)
    with pytest.raises(TrainingSetError, match="base_rate"):
        build(sources, join=lambda **asked: exact(**asked).drop(columns="base_rate"), as_of=AS_OF)


def test_labels_never_enter_the_join():
    seen = []
    sources = _sources()
    exact = _exact_join(sources)

    def join(*, entities, service):
        seen.extend(entities.columns)
        return exact(entities=entities, service=service)

    build(sources, join=join, as_of=AS_OF)
    assert not {"transactions", "units"} & set(seen)
    assert {"transactions", "units"} <= set(targets(sources).columns)
