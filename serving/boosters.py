"""How rows are fed to LightGBM: complete, in the model's own column order, checked by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def completed(rows: pd.DataFrame, *, defaults: Mapping[str, float]) -> pd.DataFrame:
    """The features named in `defaults`, with the default in place of every missing value, as in training.

    A booster trained without missing values would silently read one as zero. Raises KeyError that names absent ones.
    """
    names = list(defaults)
    absent = [name for name in names if name not in rows.columns]
    if absent:
        raise KeyError(f"features the model needs are absent: {', '.join(absent)}")
    cells = rows[names].to_numpy(dtype=np.float64)
    # one array at a time: DataFrame.fillna by column takes longer than the model
    cells = np.where(np.isnan(cells), np.array([defaults[name] for name in names]), cells)
    return pd.DataFrame(cells, columns=names, index=rows.index)


def predict(booster: Any, rows: pd.DataFrame, *, threads: int = 1) -> Floats:
    """Predict complete rows, in whatever column order they come; one value a row."""
    ordered = rows[booster.feature_name()]
    # LightGBM takes columns by position and says nothing unless asked
    return np.asarray(booster.predict(ordered, validate_features=True, num_threads=threads), dtype=np.float64)


def contributions(booster: Any, rows: pd.DataFrame) -> Floats:
    """TreeSHAP contributions (Lundberg et al., 2020) of complete rows, one column per feature of the booster."""
    ordered = rows[booster.feature_name()]
    shares = booster.predict(ordered, pred_contrib=True, validate_features=True, num_threads=1)
    return np.asarray(shares, dtype=np.float64)[:, :-1]  # the last column is the base value
