"""Which columns count as moved, and when that is too many."""

import numpy as np
import pandas as pd
import pytest

from feature_repo.catalog import MODEL_FEATURES
from monitoring.check import MOVED_BY_CALENDAR
from monitoring.drift import DriftInputError, DriftThresholds, measure_drift

ROWS = 2000


def frame(seed, columns=10, rows=ROWS):
    draw = np.random.default_rng(seed)
    return pd.DataFrame({f"f{i}": draw.normal(size=rows) for i in range(columns)})


def by_name(summary):
    return {column.column: column for column in summary.columns}


def test_two_draws_of_one_population_are_ok():
    summary = measure_drift(frame(1), frame(2), columns=list(frame(1)))
    assert summary.state == "ok"
    assert summary.reasons == ()
    assert summary.moved == ()


def test_one_column_that_moved_far_is_a_warning_that_names_it_first():
    current = frame(2).assign(f3=lambda f: f["f3"] + 1)
    summary = measure_drift(frame(1), current, columns=list(current))
    assert summary.state == "warn"
    assert summary.columns[0].column == "f3"
    assert summary.columns[0].state == "breach"
    assert "1 of 10 inputs moved far" in summary.reasons[0]
    assert "f3 (PSI" in summary.reasons[0]


def test_a_fifth_of_the_columns_moved_far_is_a_breach():
    current = frame(2).assign(f3=lambda f: f["f3"] + 1, f4=lambda f: f["f4"] * 4)
    assert measure_drift(frame(1), current, columns=list(current)).state == "breach"


def test_one_column_that_moved_a_little_calls_nobody():
    current = frame(2).assign(f3=lambda f: f["f3"] + 0.4)
    summary = measure_drift(frame(1), current, columns=list(current))
    assert by_name(summary)["f3"].state == "warn"
    assert summary.state == "ok"


def test_many_columns_that_moved_a_little_are_a_warning():
    summary = measure_drift(frame(1), frame(2) + 0.4, columns=list(frame(1)))
    assert summary.state == "warn"
    assert "moved a little" in summary.reasons[0]


def test_a_column_that_the_calendar_moves_is_shown_but_does_not_decide():
    current = frame(2).assign(f3=9.0)
    summary = measure_drift(frame(1), current, columns=list(current), expected={"f3"})
    assert by_name(summary)["f3"].state == "breach"
    assert summary.state == "ok"
    assert summary.moved == ()


def test_the_columns_of_the_calendar_are_features_of_the_model():
    assert set(MODEL_FEATURES) >= MOVED_BY_CALENDAR


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_values_that_went_missing_are_drift_even_if_the_rest_is_unchanged(missing):
    current = frame(2)
    current.loc[: ROWS // 2 - 1, "f0"] = missing
    column = by_name(measure_drift(frame(1), current, columns=list(current)))["f0"]
    assert column.missing_current == pytest.approx(0.5)
    assert column.state == "breach"
    assert column.why == "missing 0% → 50%"


def test_a_column_without_any_value_has_no_distance_and_is_a_breach():
    column = by_name(measure_drift(frame(1), frame(2).assign(f0=np.nan), columns=["f0", "f1"]))["f0"]
    assert column.psi is None
    assert column.ks is None
    assert column.state == "breach"


def test_a_constant_column_that_stays_constant_is_ok():
    constant = measure_drift(frame(1).assign(f0=1.0), frame(2).assign(f0=1.0), columns=["f0"])
    assert constant.state == "ok"


def test_categories_are_compared_by_jensen_shannon_and_chi_square():
    old, new = frame(1, 1), frame(1, 1)
    old["how"] = np.where(np.arange(ROWS) % 2, "display", "none")
    new["how"] = np.where(np.arange(ROWS) % 10, "display", "none")
    column = by_name(measure_drift(old, new, columns=["how", "f0"]))["how"]
    assert column.kind == "categorical"
    assert column.ks is None
    assert column.js is not None
    assert column.js > 0.25
    assert column.chi2_p is not None
    assert column.chi2_p < 1e-6
    assert column.state == "breach"


@pytest.mark.parametrize(
    ("reference", "current", "columns", "said"),
    [
        (frame(1), frame(2, rows=0), ["f0"], "current frame has 0 rows"),
        (frame(1, rows=10), frame(2), ["f0"], "reference frame has 10 rows"),
        (frame(1), frame(2), ["f0", "ghost"], "reference frame lacks ghost"),
        (frame(1), frame(2), [], "no columns"),
    ],
)
def test_frames_that_cannot_be_compared_are_refused_by_name(reference, current, columns, said):
    with pytest.raises(DriftInputError, match=said):
        measure_drift(reference, current, columns=columns)


def test_a_fraction_of_the_rows_is_enough_when_the_threshold_says_so():
    limits = DriftThresholds(minimum_rows=10)
    assert measure_drift(frame(1), frame(1, rows=20), columns=["f0"], thresholds=limits).rows_current == 20
