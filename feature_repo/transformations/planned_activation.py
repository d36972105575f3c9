"""Features of what is planned for the coming week, computed at request time from the plan and the history."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from feature_repo.transformations.season import season, season_of_week

if TYPE_CHECKING:
    import pandas as pd

INPUTS: tuple[str, ...] = ("base_price_13w", "base_rate", "promoted_rate")
REQUESTED: tuple[str, ...] = ("planned_display", "planned_mailer", "planned_price", "planned_week_start_day")
DEEPEST_CUT = 0.75  # share of the base price; deeper reads as a data error and is capped
PRICE_CEILING = 1.5  # times the base price; a dearer price than that tells nothing more


def planned_activation(inputs: "pd.DataFrame") -> "pd.DataFrame":
    """`planned_columns` of a frame: for training and Feast; returns float64 columns, index kept."""
    import pandas as pd  # serving calls `planned_columns` and never waits for pandas

    columns = planned_columns({name: inputs[name].to_numpy() for name in (*REQUESTED, *INPUTS)})
    return pd.DataFrame(columns, index=inputs.index, dtype="float64")


def planned_columns(inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float64]]:
    """Row-wise features of n planned activations; the same code at training, in the feature store and at serving.

    `inputs` has planned_display and planned_mailer (0/1), planned_price (USD per unit; missing = no cut),
    planned_week_start_day (days since 1970-01-01) and the batch features named in `INPUTS`, n values each; one
    week may stand for all. Rows do not see each other. A price at or above base_price_13w is no cut: depth 0.
    """
    display, mailer, price, base_price, base, lifted = (
        np.asarray(inputs[name], dtype=np.float64)
        for name in ("planned_display", "planned_mailer", "planned_price", *INPUTS)
    )
    ratio = np.divide(price, base_price, out=np.ones_like(price), where=base_price > 0)
    ratio = np.where(np.isfinite(ratio), ratio, 1.0).clip(1.0 - DEEPEST_CUT, PRICE_CEILING)
    weeks = np.asarray(inputs["planned_week_start_day"])
    return {
        "plan_display": display,
        "plan_mailer": mailer,
        "plan_both": display * mailer,
        "plan_depth": np.maximum(0.0, 1.0 - ratio),
        "plan_price_ratio": ratio,
        "plan_expected_rate": np.where(np.maximum(display, mailer) > 0, lifted, base),
        **(season_of_week(int(weeks[0])) if weeks.size == 1 else season(weeks)),
    }
