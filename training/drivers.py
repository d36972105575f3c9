"""What moves the forecasts, by mean absolute SHAP value per feature and driver; it explains and proves no lift."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from feature_repo.catalog import ON_DEMAND, VIEWS
from training.demand import DemandModel

ROWS = 4000  # of the held-out cells: enough for two digits, a second of work
PRICE = ("plan_depth", "plan_price_ratio", "base_price_13w", "price_lag_1", "depth_lag_1")
SEASON = ("weeks_to_holiday", "weeks_since_holiday")


@dataclass(frozen=True)
class Drivers:
    """`features`: feature, driver, mean_abs_shap. `drivers`: driver, share (they sum to one). Both in falling order."""

    features: pd.DataFrame
    drivers: pd.DataFrame


def driver_of(feature: str) -> str:
    """The driver a feature belongs to: price, activation, season, outlet or history."""
    if feature in PRICE:
        return "price"
    if feature in SEASON:
        return "season"
    if feature in {f.name for f in ON_DEMAND} or feature in {
        f.name for v in VIEWS if v.name == "outlet_ppg_promotion" for f in v.features
    }:
        return "activation"
    if feature in {f.name for v in VIEWS if v.entities == ("outlet_id",) for f in v.features}:
        return "outlet"
    return "history"


def explain(model: DemandModel, frame: pd.DataFrame, *, seed: int, rows: int = ROWS) -> Drivers:
    """TreeSHAP of the transactions head (log scale) on a seeded sample of rows.

    Contributions are Lundberg et al. (2020), computed inside LightGBM; within a driver they are summed per row
    before the absolute value is taken, so that features which cancel out count as little as they do.
    """
    booster = model.boosters["transactions"]
    names = booster.feature_name()
    sample = frame[names].fillna(model.plan["defaults"])
    if len(sample) > rows:
        sample = sample.iloc[np.sort(np.random.default_rng(seed).choice(len(sample), rows, replace=False))]
    shap = booster.predict(sample, pred_contrib=True, validate_features=True)[:, :-1]
    features = pd.DataFrame(
        {
            "feature": names,
            "driver": [driver_of(name) for name in names],
            "mean_abs_shap": np.abs(shap).mean(axis=0),
        }
    ).sort_values("mean_abs_shap", ascending=False, ignore_index=True)
    groups = np.array([driver_of(name) for name in names])
    strength = {g: float(np.abs(shap[:, groups == g].sum(axis=1)).mean()) for g in sorted(set(groups))}
    total = sum(strength.values()) or 1.0
    drivers = pd.DataFrame({"driver": list(strength), "share": [s / total for s in strength.values()]})
    return Drivers(features, drivers.sort_values("share", ascending=False, ignore_index=True))
