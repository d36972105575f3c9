"""Groups of outlets that fairness is measured between, by what was known of them on the training weeks."""

import numpy as np
import pandas as pd

CLASSES = ("low", "middle", "high")
GIVEN = ("outlet_format", "outlet_area")  # where the data has them


def outlet_groups(history: pd.DataFrame) -> pd.DataFrame:
    """Thirds of outlets by traffic, visits per shopper and the category's share of baskets; indexed by outlet_id.

    Stand-ins where a source knows neither area nor shoppers' circumstances: many visits of few shoppers is another
    neighbourhood than few visits of many.
    """
    means = history.groupby("outlet_id")[
        ["outlet_baskets_13w", "outlet_shoppers_13w", "outlet_category_baskets_13w"]
    ].mean()
    baskets = means["outlet_baskets_13w"]
    measures = {
        "outlet_traffic": baskets,
        "visits_per_shopper": baskets / means["outlet_shoppers_13w"].replace(0.0, np.nan),
        "category_share": means["outlet_category_baskets_13w"] / baskets.replace(0.0, np.nan),
    }
    groups = pd.DataFrame({name: _thirds(values) for name, values in measures.items()})
    for name in GIVEN:
        if name in history:
            groups[name] = history.groupby("outlet_id")[name].last()
    return groups


def _thirds(values: pd.Series) -> pd.Series:
    rank = values.rank(method="first", pct=True)
    return pd.cut(rank, [0, 1 / 3, 2 / 3, 1], labels=list(CLASSES)).astype(str)
