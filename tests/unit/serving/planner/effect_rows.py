"""Effect tables for tests: rows by hand, and whole made-up ones by seed."""

import numpy as np
import pandas as pd

from poplift.activation import CANDIDATES

NAMES = tuple(a.name for a in CANDIDATES)


def row(outlet, ppg, activation, margin=5.0, *, half=1.0, transactions=3.0, evidence="sufficient", **other):
    """One row; `half` is half the width of the margin's interval in USD."""
    said = {
        "outlet_id": outlet, "ppg_id": ppg, "activation": activation,
        "incremental_transactions": transactions, "incremental_transactions_low": transactions - 1,
        "incremental_transactions_high": transactions + 1,
        "incremental_units": 2 * transactions, "incremental_units_low": 2 * transactions - 1,
        "incremental_units_high": 2 * transactions + 1,
        "incremental_margin_usd": margin, "incremental_margin_usd_low": margin - half,
        "incremental_margin_usd_high": margin + half,
        "give_away_usd": 0.0, "overlap": 0.9, "evidence": evidence,
    }  # fmt: skip
    return said | other


def none(outlet, ppg):
    """The row of doing nothing."""
    return row(outlet, ppg, "none", 0.0, half=0.0) | {
        c: 0.0 for c in row("", "", "none") if c.startswith("incremental")
    }


def frame(*rows):
    return pd.DataFrame(list(rows))


def made_up(seed=0, *, outlets=6, ppgs=3):
    """Every candidate of every outlet and ppg, some of it thin, some of it worthless."""
    rng = np.random.default_rng(seed)
    rows = []
    for o in range(outlets):
        for p in range(ppgs):
            outlet, ppg = f"o{o:03d}", f"p{p}"
            rows.append(none(outlet, ppg))
            for name in NAMES[1:]:
                margin, half = rng.normal(2.5, 2), rng.gamma(2, 0.7)
                rows.append(
                    row(
                        outlet, ppg, name, margin, half=half, transactions=margin,
                        evidence="thin" if rng.random() < 0.1 else "sufficient",
                    )
                )  # fmt: skip
    return frame(*rows)
