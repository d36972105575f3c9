"""Served against offline: equal is silence, one bit apart is named, and nothing is compared with something else."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from monitoring.served_vectors import ServedVector
from monitoring.skew import LISTED, SkewInputError, measure_skew

AT = datetime(2018, 1, 2, 5, tzinfo=UTC)
VIEWS = {"sales": ("lag", "mean"), "trend": ("baskets",)}


def vector(number, *, replaced=(), **features):
    values = {"lag": float(number), "mean": 0.1 * number, "baskets": None, "plan_display": 1.0, **features}
    return ServedVector(f"d{number}", {"outlet_id": str(number), "ppg_id": "cola"}, AT, values, frozenset(replaced))


def offline(asked):
    """What training would see of the vectors above."""
    number = asked["outlet_id"].astype(float)
    return asked.assign(lag=number, mean=0.1 * number, baskets=np.nan)


def measured(*vectors, join=offline):
    return measure_skew(vectors, views=VIEWS, join=join)


def test_what_was_served_as_training_sees_it_is_no_skew():
    found = measured(*(vector(n) for n in range(20)))
    assert (found.vectors, found.compared, found.state, found.reasons) == (20, 60, "ok", ())


def test_one_value_a_bit_apart_is_named_with_both():
    found = measured(vector(1), vector(3, mean=np.nextafter(0.1 * 3, 1)), vector(4))
    assert found.differing == {"sales.mean": 1}
    (difference,) = found.differences
    assert (difference.entity, difference.decision_id) == ("outlet 3, ppg cola", "d3")
    assert difference.online > difference.offline == 0.1 * 3


def test_a_value_on_one_side_only_is_a_difference():
    found = measured(vector(1, lag=None), vector(2, baskets=7.0))
    assert [(d.feature, d.online, d.offline) for d in found.differences] == [("lag", None, 1.0), ("baskets", 7.0, None)]


def test_a_default_put_in_for_a_view_counts_as_no_value():
    assert measured(vector(1, baskets=12.0, replaced=["trend"])).state == "ok"
    assert measured(vector(1, replaced=["sales"])).differing == {"sales.lag": 1, "sales.mean": 1}


def test_every_feature_that_differs_is_among_the_differences_kept():
    found = measured(*(vector(n, lag=-1.0, mean=-1.0) for n in range(1, 101)))
    assert found.differing == {"sales.lag": 100, "sales.mean": 100}
    assert len(found.differences) == LISTED
    assert len(found.reasons) == 2


def test_a_feature_that_the_release_does_not_use_is_not_compared():
    served = vector(1)
    del served.features["mean"]
    assert measured(served).compared == 2


def test_nothing_served_asks_nothing_of_the_store():
    def join(_):
        raise AssertionError

    assert measured(join=join).vectors == 0


@pytest.mark.parametrize(
    ("join", "said"),
    [
        (lambda asked: offline(asked).head(1), "2 vectors were asked for offline, 1 came back"),
        (lambda asked: offline(asked).drop(columns="mean"), "sales.mean was served and is not in the offline answer"),
    ],
)
def test_an_answer_that_cannot_be_compared_is_an_error_and_not_a_pass(join, said):
    with pytest.raises(SkewInputError, match=said):
        measured(vector(1), vector(2), join=join)


def test_the_store_is_asked_in_utc_at_the_time_of_serving():
    seen = []

    def join(asked: pd.DataFrame) -> pd.DataFrame:
        seen.append(asked["event_timestamp"])
        return offline(asked)

    measured(vector(1), join=join)
    assert seen[0].to_list() == [pd.Timestamp(AT)]
