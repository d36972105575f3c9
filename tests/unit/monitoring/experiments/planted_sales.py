"""Outlets whose sales are known: sizes differ, weeks are noisy, and an effect can be planted."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd

from poplift.assignment import assign_arms
from poplift.launches import Launch

FIRST, WEEKS, AFTER = 27, 6, 4


def sales(seed=0, *, outlets=80, weeks=FIRST + WEEKS + AFTER - 1, mean=20.0):
    """Outlet-weeks of transactions around sizes that differ threefold."""
    random = np.random.default_rng(seed)
    size = mean * np.exp(random.normal(0, 0.5, outlets))
    rows = [
        pd.DataFrame({"outlet_id": [f"o{n:03d}" for n in range(outlets)], "week": week, "transactions": counts})
        for week, counts in enumerate(random.poisson(size, (weeks, outlets)), start=1)
    ]
    return pd.concat(rows, ignore_index=True)


def record_of(outcomes, *, name="display-cola", **changes):
    """A launch that treats half of the outlets from week FIRST on."""
    strata = dict.fromkeys(sorted(outcomes["outlet_id"].unique()), "all")
    fields = {
        "name": name,
        "activation": "display",
        "ppg_ids": ("cola",),
        "arms": assign_arms(strata, experiment=name, share=0.5),
        "strata": strata,
        "share": 0.5,
        "first_week": FIRST,
        "starts_on": date(2018, 1, 1),
        "weeks": WEEKS,
        "weeks_after": AFTER,
        "detectable": 2.0,
        "launched_at": datetime(2018, 1, 1, tzinfo=UTC),
    }
    return Launch.model_validate(fields | changes)


def planted(outcomes, record, effect, *, afterwards=0.0):
    """The same outcomes with `effect` more in treated outlet-weeks, and `afterwards` in those after them."""
    treated = outcomes["outlet_id"].map(record.arms).eq("treatment")
    during = outcomes["week"].between(record.first_week, record.first_week + record.weeks - 1)
    later = outcomes["week"] >= record.first_week + record.weeks
    more = effect * (treated & during) + afterwards * (treated & later)
    return outcomes.assign(transactions=outcomes["transactions"] + more)
