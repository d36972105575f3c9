"""The forecasts a model must beat: nothing at all, recent and long means, last year, and a Poisson regression."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

YEAR = 52
ALL_ZERO = "all_zero"
LONG_MEAN = "mean_all"
GLM = "poisson_glm"
NAIVE = {"mean_4w": "transactions_mean_4w", "mean_13w": "transactions_mean_13w", LONG_MEAN: "transactions_mean_all"}
GLM_LOGS = (
    "transactions_mean_4w",
    "transactions_mean_13w",
    "transactions_mean_all",
    "base_rate",
    "promoted_rate",
    "outlet_category_baskets_13w",
    "outlet_baskets_4w",
    "ppg_transactions_4w",
    "ppg_transactions_13w",
    "plan_price_ratio",
)
GLM_PLAIN = ("plan_display", "plan_mailer", "plan_both", "plan_depth", "display_lag_1", "mailer_lag_1")
LOG_OFFSET = 0.02  # baskets/week, keeps the logarithm of a mean of zero finite


@dataclass(frozen=True)
class Baselines:
    """Fitted baselines; `unavailable` says which could not be computed and why."""

    glm: Any
    last_year: pd.Series
    unavailable: dict[str, str]

    def predict(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """Forecast transactions of every row with every baseline that is available.

        `all_zero` forecasts zero; its deviance is that of poplift.statistics.FLOOR.
        """
        forecasts = {ALL_ZERO: np.zeros(len(frame))}
        forecasts |= {name: frame[column].to_numpy("float64") for name, column in NAIVE.items()}
        forecasts[GLM] = np.asarray(self.glm.predict(_design(frame)), dtype="float64")
        if "seasonal_naive" not in self.unavailable:
            keys = pd.MultiIndex.from_arrays([frame["outlet_id"], frame["ppg_id"], frame["week"] - YEAR])
            forecasts["seasonal_naive"] = self.last_year.reindex(keys).fillna(0.0).to_numpy("float64")
        return forecasts


def fit_baselines(train: pd.DataFrame, *, target_weeks: tuple[int, int]) -> Baselines:
    """Fit the regression on `train`, and see whether last year is known for all of `target_weeks`.

    The GLM is a log-linear Poisson regression with a ridge penalty on standardised logs of the histories and on the
    planned activation, by scikit-learn.
    """
    from sklearn.linear_model import PoissonRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    glm = make_pipeline(StandardScaler(), PoissonRegressor(alpha=1e-3, max_iter=500))
    glm.fit(_design(train), train["transactions"].to_numpy("float64"))
    unavailable = {}
    if target_weeks[0] - YEAR < int(train["week"].min()):
        unavailable["seasonal_naive"] = (
            f"needs {YEAR} weeks of history before week {target_weeks[0]}; the first one is {train['week'].min()}"
        )
    last_year = train.set_index(["outlet_id", "ppg_id", "week"])["transactions"]
    return Baselines(glm, last_year, unavailable)


def _design(frame: pd.DataFrame) -> np.ndarray:
    logs = np.log(frame[list(GLM_LOGS)].fillna(0.0).to_numpy("float64") + LOG_OFFSET)
    design: np.ndarray = np.column_stack([logs, frame[list(GLM_PLAIN)].to_numpy("float64")])
    return design
