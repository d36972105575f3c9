"""Predictions do not depend on how the features are laid out."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.catalog import MODEL_FEATURES
from serving.release import LoadedRelease
from serving.scoring import _count_bound, score


def test_the_order_of_the_features_does_not_change_the_answer(loaded: LoadedRelease, golden: pd.DataFrame) -> None:
    straight = score(loaded, golden)
    reversed_columns = golden[golden.columns[::-1]]
    as_arrays = {name: golden[name].to_numpy() for name in sorted(golden.columns)}
    for other in (score(loaded, reversed_columns), score(loaded, as_arrays)):
        for head in ("transactions", "units", "low", "high"):
            np.testing.assert_array_equal(getattr(other, head), getattr(straight, head))


def test_rows_are_scored_alone_as_they_are_together(loaded: LoadedRelease, golden: pd.DataFrame) -> None:
    together = score(loaded, golden).transactions
    alone = [score(loaded, golden.iloc[[row]]).transactions[0] for row in range(len(golden))]
    np.testing.assert_array_equal(together, alone)


def test_an_absent_feature_is_named(loaded: LoadedRelease, golden: pd.DataFrame) -> None:
    with pytest.raises(KeyError, match="plan_depth"):
        score(loaded, golden.drop(columns="plan_depth"))


def test_a_missing_value_is_scored_as_its_default_as_in_training(loaded: LoadedRelease, golden: pd.DataFrame) -> None:
    row = golden.tail(1).assign(transactions_mean_4w=9.0)
    gone = row.assign(transactions_mean_4w=np.nan)
    filled = row.assign(transactions_mean_4w=loaded.defaults["transactions_mean_4w"])
    assert score(loaded, gone).transactions == score(loaded, filled).transactions
    assert score(loaded, gone).transactions != score(loaded, row).transactions


def test_extra_columns_are_not_looked_at(loaded: LoadedRelease, golden: pd.DataFrame) -> None:
    more = golden.assign(secret=1.0)
    np.testing.assert_array_equal(score(loaded, more).units, score(loaded, golden).units)


@pytest.mark.parametrize(("quantile", "bound"), [(0.2, 0), (1.0, 0), (1.01, 1), (2.0, 1), (2.5, 2), (-3.0, 0)])
def test_a_quantile_of_jittered_counts_becomes_the_bound_of_the_count(quantile: float, bound: int) -> None:
    assert _count_bound(np.array([quantile]))[0] == bound


@given(
    cells=st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=len(MODEL_FEATURES), max_size=len(MODEL_FEATURES))
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_finite_or_missing_input_gives_a_finite_ordered_answer(loaded: Any, cells: list[float]) -> None:
    row = pd.DataFrame([cells], columns=list(MODEL_FEATURES))
    answer = score(loaded, row)
    assert np.isfinite(answer.transactions).all()
    assert (answer.transactions >= 0).all()
    assert (answer.low <= answer.high).all()
