import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.catalog import MODEL_FEATURES
from training.demand import HEADS, ModelFilesError, fit, load, save, whole_baskets
from training.metrics import jittered


def test_the_same_rows_recipe_and_seed_give_the_same_files_byte_for_byte(frame, recipe, model, tmp_path):
    again = fit(frame().query("week <= 40"), recipe=recipe, seed=7, threads=1, data_digest="d1")
    for one, other in zip(save(model, tmp_path / "a"), save(again, tmp_path / "b"), strict=True):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes()


def test_another_seed_gives_another_model(frame, recipe, model, tmp_path):
    other = fit(frame().query("week <= 40"), recipe=recipe, seed=8, threads=1, data_digest="d1")
    save(model, tmp_path / "a")
    save(other, tmp_path / "b")
    assert (tmp_path / "a/transactions.lgb").read_bytes() != (tmp_path / "b/transactions.lgb").read_bytes()


def test_a_saved_model_predicts_the_same_after_loading(frame, model, tmp_path):
    rows = frame().query("week > 40")
    save(model, tmp_path)
    pd.testing.assert_frame_equal(load(tmp_path).predict(rows), model.predict(rows))


def test_the_plan_says_how_to_feed_every_head(model, tmp_path):
    save(model, tmp_path)
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["features"] == list(MODEL_FEATURES)
    assert set(plan["heads"]) == set(HEADS)
    assert all((tmp_path / name).exists() for name in plan["heads"].values())
    assert plan["trained_through_week"] == 40
    assert set(plan["defaults"]) == set(MODEL_FEATURES)
    assert not {"transactions", "units"} & set(plan["features"])


def test_the_order_of_columns_does_not_change_a_forecast(frame, model):
    rows = frame().query("week == 45")
    pd.testing.assert_frame_equal(model.predict(rows[sorted(rows.columns, reverse=True)]), model.predict(rows))


def test_the_order_of_rows_does_not_change_a_forecast(frame, model):
    rows = frame().query("week == 45")
    turned = rows.iloc[::-1]
    pd.testing.assert_frame_equal(model.predict(turned), model.predict(rows).iloc[::-1])


def test_a_missing_value_is_the_default_of_the_plan(frame, model):
    rows = frame().query("week == 45").copy()
    filled = rows.assign(base_rate=model.plan["defaults"]["base_rate"])
    pd.testing.assert_frame_equal(model.predict(rows.assign(base_rate=np.nan)), model.predict(filled))


def test_a_missing_column_is_named(frame, model):
    with pytest.raises(ModelFilesError, match="base_rate"):
        model.predict(frame().query("week == 45").drop(columns="base_rate"))


@pytest.fixture(scope="module")
def coming_week(frame):
    return frame().query("week == 45")


@settings(max_examples=25, deadline=None)
@given(cuts=st.tuples(st.floats(0, 0.75), st.floats(0, 0.75)))
def test_a_deeper_cut_never_lowers_the_forecast_of_any_cell(coming_week, model, cuts):
    shallow, deep = (model.predict(coming_week.assign(plan_depth=c, plan_price_ratio=1 - c)) for c in sorted(cuts))
    assert (deep["transactions"] >= shallow["transactions"]).all()
    assert (deep["units"] >= shallow["units"]).all()


def test_the_interval_is_whole_baskets_in_order_and_not_negative(frame, model):
    predicted = model.predict(frame().query("week > 40"))
    assert (predicted["low"] >= 0).all()
    assert (predicted["low"] <= predicted["high"]).all()
    assert (predicted[["low", "high"]] % 1 == 0).all().all()
    assert (predicted["transactions"] > 0).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=400, max_size=400), st.sampled_from([0.1, 0.5, 0.9]))
def test_a_quantile_of_jittered_counts_gives_the_quantile_of_the_counts(counts, level):
    y = np.repeat(np.array(counts, dtype=float), 50)
    by_jitter = whole_baskets(np.quantile(jittered(y, seed=1), [level])).item()
    below, at = (y < by_jitter).mean(), (y <= by_jitter).mean()
    assert below <= level + 0.02
    assert at >= level - 0.02


def test_a_torn_model_file_is_refused_with_its_folder(model, tmp_path):
    save(model, tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ModelFilesError, match="not a saved demand model"):
        load(tmp_path)


def test_a_model_made_for_other_features_is_refused(model, tmp_path):
    save(model, tmp_path)
    plan = json.loads((tmp_path / "plan.json").read_text())
    plan["features"] = plan["features"][::-1]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(ModelFilesError, match="features are not those"):
        load(tmp_path)
