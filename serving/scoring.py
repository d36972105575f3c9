"""Predictions of a release: transactions and units a week, and the 80 % interval of transactions."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serving.boosters import Floats, completed, predict
from serving.policy import Predictions
from serving.release import LoadedRelease


def score(
    release: LoadedRelease, features: Mapping[str, NDArray[np.float64]] | pd.DataFrame, *, threads: int = 1
) -> Predictions:
    """Predict n rows with every head of the release; the order of the columns does not matter.

    `features` holds every feature of the release's plan as float64; NaN means missing: the default of the plan
    takes its place, as in training. Raises KeyError that names absent features. Interval: quantile heads are
    trained on jittered counts z = y + U(0, 1), so a bound of the count is max(0, ceil(Q - 1)) (Machado and
    Santos Silva, 2005).
    """
    frame = features if isinstance(features, pd.DataFrame) else pd.DataFrame(dict(features))
    complete = completed(frame, defaults=release.defaults)
    raw = {head: predict(booster, complete, threads=threads) for head, booster in release.boosters.items()}
    low, high = _count_bound(raw["transactions_q10"]), _count_bound(raw["transactions_q90"])
    return Predictions(
        transactions=raw["transactions"],
        units=raw["units"],
        low=np.minimum(low, high),  # two quantile models can cross
        high=np.maximum(low, high),
    )


def _count_bound(quantile: Floats) -> Floats:
    return np.maximum(0.0, np.ceil(quantile - 1.0)) + 0.0  # a count has no negative zero
