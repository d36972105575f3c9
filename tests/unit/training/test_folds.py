import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.folds import expanding_folds, holdout_fold

WEEKS = pd.DataFrame({"week": range(14, 54)})


@given(st.integers(1, 6), st.integers(1, 5))
def test_every_fold_trains_only_on_earlier_weeks_and_grows(count, horizon):
    folds = expanding_folds(first=10, last=40, count=count, horizon=horizon)
    assert len(folds) == count
    for fold in folds:
        train, validate = fold.train(WEEKS), fold.validate(WEEKS)
        assert train.empty or train["week"].max() < validate["week"].min()
        assert fold.validate_through - fold.train_through == horizon
    assert folds[-1].validate_through == 40
    assert sorted(f.train_through for f in folds) == [f.train_through for f in folds]


def test_the_last_thirteen_weeks_are_held_out():
    fold = holdout_fold(WEEKS)
    assert (fold.train_through, fold.validate_through) == (40, 53)
    assert sorted(fold.validate(WEEKS)["week"]) == list(range(41, 54))


def test_too_short_a_history_says_how_much_is_missing():
    with pytest.raises(ValueError, match="at least 13"):
        holdout_fold(pd.DataFrame({"week": range(14, 30)}))


def test_folds_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        expanding_folds(first=30, last=40, count=3, horizon=5)
