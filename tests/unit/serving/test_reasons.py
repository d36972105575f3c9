"""Reasons are the predictor's own contributions in words; they add up to its prediction."""

import numpy as np
import pandas as pd

from feature_repo.catalog import MODEL_FEATURES
from serving.reasons import reasons
from serving.release import LoadedRelease
from serving.scoring import score


def inputs(rows: pd.DataFrame) -> np.ndarray:
    return rows[list(MODEL_FEATURES)].to_numpy()


def test_all_contributions_multiply_to_the_prediction(loaded: LoadedRelease, golden: pd.DataFrame) -> None:
    every = reasons(loaded, inputs(golden), top=len(MODEL_FEATURES))
    products = np.array([np.prod([reason.effect for reason in row]) for row in every])
    ratio = score(loaded, golden).transactions / products
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)  # what is left is the model's base rate


def test_the_largest_contribution_comes_first_in_plain_words(loaded: LoadedRelease, golden: pd.DataFrame) -> None:
    for row in reasons(loaded, inputs(golden), top=3):
        sizes = [abs(np.log(reason.effect)) for reason in row]
        assert sizes == sorted(sizes, reverse=True)
        for reason in row:
            assert ("raises" in reason.text) == (reason.effect >= 1.0)
            assert reason.text.endswith("%")


def test_a_missing_value_is_called_missing(loaded: LoadedRelease, golden: pd.DataFrame) -> None:
    gone = golden.head(1).assign(**dict.fromkeys(MODEL_FEATURES, np.nan))
    assert all("(missing, its default used)" in reason.text for reason in reasons(loaded, inputs(gone))[0])
