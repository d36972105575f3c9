"""A small chain whose sales, promotions, prices and products partly come late or are corrected, in a real lake."""

from datetime import timedelta

import numpy as np
import pandas as pd

from poplift.contracts.tables import CONTRACTS
from poplift.lake import Lake
from tests.unit.feature_repo.transformations.conftest import FIRST_MONDAY, _tables

WEEKS = 6
COLUMNS = {
    "products": {"manufacturer_id": "1", "department": None, "brand": None, "product_type": None, "package_size": None},
    "pos_lines": {"sales_value": 1.0, "retail_discount": 0.0, "coupon_discount": 0.0, "coupon_match_discount": 0.0},
}


def landed(week):
    """Decision instant after a week: its sales are in."""
    return FIRST_MONDAY + timedelta(weeks=week, days=1)


def chain(seed=1):
    """Contract tables in pandas, nothing late: sales a day after their week, the rest before it."""
    tables = _tables(seed, WEEKS)
    opening = dict(zip(tables["weeks"]["week"], tables["weeks"]["starts_at"], strict=True))
    made = {}
    for contract in CONTRACTS:
        frame = tables[contract.table].copy()
        for column, value in COLUMNS.get(contract.table, {}).items():
            frame[column] = value
        frame["effective_at"] = frame["week"].map(opening) if "week" in frame else FIRST_MONDAY
        known = frame["effective_at"] - pd.Timedelta(days=7)
        if contract.table == "pos_lines":
            known = frame["effective_at"] + pd.Timedelta(days=8)
        frame["created_at"] = pd.Series(known, index=frame.index)
        made[contract.table] = frame.drop_duplicates(list(contract.key))
    return made


def disturbed(tables, seed):
    """The same chain with a tenth of the lines late, some corrected later, a late promotion, price and product."""
    draw = np.random.default_rng(seed)
    late = {name: frame.copy() for name, frame in tables.items()}

    def some(name, rows):
        return late[name].sample(rows, random_state=int(draw.integers(1 << 30)))

    def delayed(frame):
        return frame["created_at"] + pd.to_timedelta(draw.integers(1, 24 * 25, len(frame)), unit="h")

    lines = some("pos_lines", 40)
    late["pos_lines"].loc[lines.index, "created_at"] = delayed(lines)
    wrong = some("pos_lines", 15)
    again = wrong.assign(quantity=wrong["quantity"] + 3, created_at=delayed(wrong))
    other = some("pos_lines", 8)
    moved = other.assign(outlet_id="o1", created_at=delayed(other))
    late["pos_lines"] = pd.concat([late["pos_lines"], again, moved])
    for name, rows in (("promotions", 5), ("price_calendar", 2), ("products", 1)):
        found = some(name, rows)
        late[name].loc[found.index, "created_at"] = delayed(found) + pd.Timedelta(days=10)
    return late


def write(lake: Lake, tables, *, until=None, after=None):
    """Append what became known in (after, until] to the lake, as one part per table."""
    for name, frame in tables.items():
        known = frame if until is None else frame[frame["created_at"] <= until]
        known = known if after is None else known[known["created_at"] > after]
        if len(known):
            contract = next(c for c in CONTRACTS if c.table == name)
            lake.connection.register("coming", known[list(contract.column_names)])
            lake.append(name, "SELECT * FROM coming")
            lake.connection.unregister("coming")
