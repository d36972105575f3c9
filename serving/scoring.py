"""Predictions of a release: transactions and units a week, and the 80 % interval of transactions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.policy import Floats, Predictions
from serving.release import LoadedRelease


def score(release: LoadedRelease, features: Any) -> Predictions:
    """Predict n rows of a frame or of columns by name with every head; the order of the columns does not matter.

    Every feature of the release's plan must be there; NaN means missing: the default of the plan takes its place, as
    in training. Raises KeyError that names absent features.
    """
    return _predictions(release.heads.predict(release.heads.completed(features)))


def score_inputs(release: LoadedRelease, inputs: Floats) -> Predictions:
    """The same for n x `MODEL_FEATURES`, as `serving.online.model_inputs` makes them."""
    return _predictions(release.heads.predict(release.heads.filled(release.heads.arranged(inputs))))


def score_again(release: LoadedRelease, inputs: Floats) -> Predictions:
    """The same where the same inputs are likely to come again: this release remembers what it said of them."""
    rows = release.heads.filled(release.heads.arranged(inputs))
    return _predictions(release.predictions.get(rows, release.heads.predict))


def _predictions(raw: Mapping[str, Floats]) -> Predictions:
    """Quantile heads are trained on jittered counts z = y + U(0, 1), so a bound of the count is max(0, ceil(Q - 1)).

    Source: Machado and Santos Silva, 2005.
    """
    low, high = _count_bound(raw["transactions_q10"]), _count_bound(raw["transactions_q90"])
    return Predictions(
        transactions=raw["transactions"],
        units=raw["units"],
        low=np.minimum(low, high),  # two quantile models can cross
        high=np.maximum(low, high),
    )


def _count_bound(quantile: Floats) -> Floats:
    return np.maximum(0.0, np.ceil(quantile - 1.0)) + 0.0  # a count has no negative zero
