import numpy as np
import pandas as pd
import pytest

from feature_repo.catalog import VIEWS
from feature_repo.transformations.outlet_ppg_promotion import outlet_ppg_promotion
from feature_repo.transformations.outlet_ppg_sales import outlet_ppg_sales
from feature_repo.transformations.outlet_ppg_shoppers import MEMORIES, PRIOR_BASKETS, outlet_ppg_shoppers
from feature_repo.transformations.outlet_trend import outlet_trend
from feature_repo.transformations.panel import panel
from feature_repo.transformations.ppg_trend import ppg_trend


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: v.name)
def test_a_view_writes_the_columns_of_the_catalog_and_nothing_missing_from_week_one_on(view, tables, as_sources):
    frame = view.build(as_sources(tables())).to_pandas()
    assert list(frame.columns) == [
        *view.entities,
        "event_timestamp",
        "created_timestamp",
        *(f.name for f in view.features),
    ]
    members = {"outlet_id": 3, "ppg_id": 3}
    assert len(frame) == 20 * np.prod([members[e] for e in view.entities])
    assert not frame.duplicated([*view.entities, "event_timestamp"]).any()
    values = frame[[f.name for f in view.features]]
    assert (values.dtypes == "float64").all()
    assert np.isfinite(values.to_numpy()).all()


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: v.name)
def test_a_row_is_about_the_close_of_its_week_and_known_a_day_later(view, tables, as_sources):
    data = tables()
    frame = view.build(as_sources(data)).to_pandas()
    closes = data["weeks"].query("week <= 20")["closes_at"]
    assert set(frame["event_timestamp"]) == set(closes)
    assert ((frame["created_timestamp"] - frame["event_timestamp"]) == pd.Timedelta(days=1)).all()


def _week(frame, data, week):
    return frame[frame["event_timestamp"] == data["weeks"].set_index("week").loc[week, "closes_at"]]


def _history(data, as_sources):
    return panel(as_sources(data)).to_pandas().sort_values("week").groupby(["outlet_id", "ppg_id"])


def test_lags_and_means_are_those_of_the_weeks_before_the_target(tables, as_sources):
    data = tables()
    rows = _week(outlet_ppg_sales(as_sources(tables())).to_pandas(), data, 17).set_index(["outlet_id", "ppg_id"])
    for cell, past in _history(data, as_sources):
        y = past.set_index("week")["transactions"]
        assert rows.loc[cell, "transactions_lag_1"] == y[17]
        assert rows.loc[cell, "transactions_lag_4"] == y[14]
        assert rows.loc[cell, "transactions_mean_4w"] == pytest.approx(y.loc[14:17].mean())
        assert rows.loc[cell, "transactions_mean_13w"] == pytest.approx(y.loc[5:17].mean())
        assert rows.loc[cell, "transactions_mean_all"] == pytest.approx(y.loc[:17].mean())
        sold = y.loc[:17][y.loc[:17] > 0].index
        assert rows.loc[cell, "weeks_since_sale"] == 18 - sold.max()


def test_the_promotion_history_is_that_of_the_weeks_before_the_target(tables, as_sources):
    data = tables()
    rows = _week(outlet_ppg_promotion(as_sources(tables())).to_pandas(), data, 17).set_index(["outlet_id", "ppg_id"])
    for cell, history in _history(data, as_sources):
        past = history[history["week"] <= 17]
        promoted = past[["display", "mailer"]].max(axis=1)
        mean = past["transactions"].mean()
        base = past["transactions"][promoted == 0]
        assert rows.loc[cell, "base_rate"] == pytest.approx((base.sum() + 4 * mean) / (len(base) + 4))
        assert rows.loc[cell, "promoted_weeks_4w"] == promoted.tail(4).sum()
        assert rows.loc[cell, "display_share_13w"] == pytest.approx(past["display"].tail(13).mean())
        if promoted.any():
            assert rows.loc[cell, "weeks_since_promotion"] == 18 - past["week"][promoted == 1].max()


def test_the_base_price_is_the_median_regular_price_of_thirteen_weeks(tables, as_sources):
    data = tables()
    prices = data["price_calendar"]
    prices["regular_price"] = np.random.default_rng(5).uniform(1, 3, len(prices))
    rows = _week(ppg_trend(as_sources(data)).to_pandas(), data, 18).set_index("ppg_id")
    for ppg, past in prices.groupby("ppg_id"):
        recent = past[(past["week"] > 5) & (past["week"] <= 18)]
        assert rows.loc[ppg, "base_price_13w"] == pytest.approx(recent["regular_price"].median())
        assert rows.loc[ppg, "price_lag_1"] == past.set_index("week")["planned_price"][18]


def test_traffic_counts_every_basket_of_an_outlet_once(tables, as_sources):
    data = tables()
    rows = _week(outlet_trend(as_sources(tables())).to_pandas(), data, 16).set_index("outlet_id")
    lines = data["pos_lines"]
    month = lines[(lines["week"] > 12) & (lines["week"] <= 16)]
    for outlet in ("o1", "o2", "o3"):
        here = month[month["outlet_id"] == outlet]
        assert rows.loc[outlet, "outlet_baskets_4w"] == pytest.approx(here["basket_id"].nunique() / 4)
        weekly = here.groupby("week")["shopper_id"].nunique()
        assert rows.loc[outlet, "outlet_shoppers_4w"] == pytest.approx(weekly.sum() / 4)


def test_the_shoppers_demand_is_visits_times_taste(tables, as_sources):
    data = tables()
    lines = data["pos_lines"]
    lines["ppg_id"] = lines["product_id"].map({"p1": "cola", "p2": "cola", "p3": "lemonade", "p4": "tea"})
    known = lines[lines["week"] <= 15]
    (name, (visit_life, taste_life)) = next(iter(MEMORIES.items()))
    baskets = known.groupby(["shopper_id", "week"])["basket_id"].nunique()

    def decayed(counts, life):
        age = 15 - counts.index.get_level_values("week")
        return (counts * 0.5 ** (age / life)).groupby(level="shopper_id").sum()

    cola = known[known["ppg_id"] == "cola"].groupby(["shopper_id", "week"])["basket_id"].nunique()
    visits = known[known["outlet_id"] == "o2"].groupby(["shopper_id", "week"])["basket_id"].nunique()
    span = sum(0.5 ** ((15 - w) / visit_life) for w in range(1, 16))
    everything, bought = decayed(baskets, taste_life), decayed(cola, taste_life)
    average = bought.sum() / everything.sum()
    bought = bought.reindex(everything.index, fill_value=0)
    taste = (bought + PRIOR_BASKETS * average) / (everything + PRIOR_BASKETS)
    expected = (decayed(visits, visit_life) / span * taste).sum()
    del lines["ppg_id"]
    rows = _week(outlet_ppg_shoppers(as_sources(data)).to_pandas(), data, 15).set_index(["outlet_id", "ppg_id"])
    assert rows.loc[("o2", "cola"), name] == pytest.approx(expected, rel=1e-6)
