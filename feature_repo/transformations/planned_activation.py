"""Features of what is planned for the coming week, computed at request time from the plan and the history."""

import numpy as np
import pandas as pd

from feature_repo.transformations.season import season

DEEPEST_CUT = 0.75  # share of the base price; deeper reads as a data error and is capped
PRICE_CEILING = 1.5  # times the base price; a dearer price than that tells nothing more


def planned_activation(inputs: pd.DataFrame) -> pd.DataFrame:
    """Row-wise features of planned activations; the same code at training, in the feature store and at serving.

    `inputs` has planned_display and planned_mailer (0/1), planned_price (USD per unit; missing = no cut),
    planned_week_start_day (days since 1970-01-01) and the batch features named in `INPUTS`. Rows do not see
    each other. A price at or above base_price_13w is no cut: depth 0. Returns float64 columns, index kept.
    """
    display = inputs["planned_display"].to_numpy(dtype="float64")
    mailer = inputs["planned_mailer"].to_numpy(dtype="float64")
    base_price = inputs["base_price_13w"].to_numpy(dtype="float64")
    price = inputs["planned_price"].to_numpy(dtype="float64")
    ratio = np.divide(price, base_price, out=np.ones_like(price), where=base_price > 0)
    ratio = np.where(np.isfinite(ratio), ratio, 1.0).clip(1.0 - DEEPEST_CUT, PRICE_CEILING)
    depth = np.maximum(0.0, 1.0 - ratio)
    promoted = np.maximum(display, mailer)
    base, lifted = inputs["base_rate"].to_numpy(dtype="float64"), inputs["promoted_rate"].to_numpy("float64")
    return pd.DataFrame(
        {
            "plan_display": display,
            "plan_mailer": mailer,
            "plan_both": display * mailer,
            "plan_depth": depth,
            "plan_price_ratio": ratio,
            "plan_expected_rate": np.where(promoted > 0, lifted, base),
            **season(inputs["planned_week_start_day"].to_numpy()),
        },
        index=inputs.index,
        dtype="float64",
    )


INPUTS: tuple[str, ...] = ("base_price_13w", "base_rate", "promoted_rate")
