import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.catalog import ON_DEMAND, ON_DEMAND_INPUTS, REQUEST_FIELDS
from feature_repo.transformations.planned_activation import REQUESTED, planned_activation, planned_columns

rows = st.fixed_dictionaries(
    {
        "planned_display": st.integers(0, 1),
        "planned_mailer": st.integers(0, 1),
        "planned_price": st.one_of(st.floats(0.01, 50), st.just(float("nan"))),
        "planned_week_start_day": st.integers(17_000, 18_500),
        "base_price_13w": st.one_of(st.floats(0.05, 20), st.just(float("nan"))),
        "base_rate": st.floats(0, 10),
        "promoted_rate": st.floats(0, 10),
    }
)
COLUMNS = [*(f.name for f in REQUEST_FIELDS), *ON_DEMAND_INPUTS]


def _inputs(**changes):
    plain = {
        "planned_display": 0,
        "planned_mailer": 0,
        "planned_price": 2.0,
        "planned_week_start_day": 17_500,
        "base_price_13w": 2.0,
        "base_rate": 0.4,
        "promoted_rate": 0.9,
    }
    return pd.DataFrame([{**plain, **changes}])


@given(st.lists(rows, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_a_row_does_not_see_the_other_rows(drawn, random):
    inputs = pd.DataFrame(drawn)[COLUMNS]
    whole = planned_activation(inputs)
    order = list(range(len(inputs)))
    random.shuffle(order)
    pd.testing.assert_frame_equal(planned_activation(inputs.iloc[order]), whole.iloc[order])
    alone = pd.concat([planned_activation(inputs.iloc[[n]]) for n in range(len(inputs))])
    pd.testing.assert_frame_equal(alone, whole)


@given(rows)
def test_every_output_is_a_finite_number_whatever_is_missing(drawn):
    features = planned_activation(pd.DataFrame([drawn]))
    assert list(features.columns) == [f.name for f in ON_DEMAND]
    assert np.isfinite(features.to_numpy()).all()


@given(rows)
def test_a_cut_to_the_base_price_is_no_cut_and_neither_is_an_unknown_price(drawn):
    none = planned_activation(pd.DataFrame([{**drawn, "planned_price": float("nan")}]))
    zero = planned_activation(pd.DataFrame([{**drawn, "planned_price": drawn["base_price_13w"]}]))
    pd.testing.assert_frame_equal(none, zero)
    assert (zero["plan_depth"] == 0).all()


@given(rows, st.floats(0.01, 20), st.floats(0.01, 20))
def test_a_lower_price_is_never_a_shallower_cut(drawn, one, other):
    low, high = sorted([one, other])
    deep = planned_activation(pd.DataFrame([{**drawn, "planned_price": low}])).iloc[0]
    shallow = planned_activation(pd.DataFrame([{**drawn, "planned_price": high}])).iloc[0]
    assert deep["plan_depth"] >= shallow["plan_depth"]
    assert deep["plan_price_ratio"] <= shallow["plan_price_ratio"]


@pytest.mark.parametrize(("display", "mailer", "expected"), [(0, 0, 0.4), (1, 0, 0.9), (0, 1, 0.9), (1, 1, 0.9)])
def test_the_expected_rate_is_the_one_of_the_planned_state(display, mailer, expected):
    features = planned_activation(_inputs(planned_display=display, planned_mailer=mailer)).iloc[0]
    assert features["plan_expected_rate"] == expected
    assert features["plan_both"] == display * mailer


def test_an_absurd_price_is_capped_on_both_sides():
    assert planned_activation(_inputs(planned_price=0.01))["plan_depth"].item() == 0.75
    assert planned_activation(_inputs(planned_price=99.0))["plan_price_ratio"].item() == 1.5


def test_no_rows_in_no_rows_out():
    assert planned_activation(_inputs().iloc[:0]).shape == (0, len(ON_DEMAND))


def test_the_request_fields_of_the_catalog_are_what_the_transformation_reads():
    assert tuple(f.name for f in REQUEST_FIELDS) == REQUESTED


def test_columns_without_pandas_equal_the_frame_of_training():
    inputs = pd.concat([_inputs(planned_display=1), _inputs(planned_price=1.5), _inputs(planned_mailer=1)])
    columns = planned_columns({name: inputs[name].to_numpy() for name in inputs})
    pd.testing.assert_frame_equal(pd.DataFrame(columns, index=inputs.index), planned_activation(inputs))
