"""A small grocery chain: four outlets (one not managed), three ppgs and a loose product, twenty weeks."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pandas as pd
import pytest

from feature_repo.transformations.sources import Sources

Tables = dict[str, pd.DataFrame]
FIRST_MONDAY = datetime(2017, 1, 2, 5, tzinfo=UTC)
OUTLETS = ["o1", "o2", "o3", "o9"]
PRODUCTS = {"p1": "cola", "p2": "cola", "p3": "lemonade", "p4": "tea", "p8": None}


def _calendar(weeks: int) -> pd.DataFrame:
    starts = [FIRST_MONDAY + timedelta(weeks=n) for n in range(weeks + 1)]
    frame = pd.DataFrame({"week": range(1, weeks + 2), "starts_at": starts})
    frame["closes_at"] = frame["starts_at"] + pd.Timedelta(weeks=1)
    return frame.assign(created_at=FIRST_MONDAY - timedelta(days=30))


def _tables(seed: int, weeks: int) -> Tables:
    random = np.random.default_rng(seed)
    calendar = _calendar(weeks)
    opening = dict(zip(calendar["week"], calendar["starts_at"], strict=True))
    lines = pd.DataFrame(
        {
            "basket_id": random.integers(0, 400, 900).astype(str),
            "product_id": random.choice(list(PRODUCTS), 900),
            "outlet_id": random.choice(OUTLETS, 900),
            "shopper_id": random.choice([f"s{n}" for n in range(12)], 900),
            "week": random.integers(1, weeks + 1, 900),
            "quantity": random.integers(1, 4, 900),
        }
    )
    lines.loc[:weeks, "week"] = np.arange(weeks + 1) % weeks + 1  # no empty week
    lines["basket_id"] = lines["outlet_id"] + "-" + lines["week"].astype(str) + "-" + lines["basket_id"]
    lines["sold_at"] = lines["week"].map(opening) + pd.Timedelta(days=2)
    promotions = pd.DataFrame(
        {
            "product_id": random.choice(list(PRODUCTS), 150),
            "outlet_id": random.choice(OUTLETS, 150),
            "week": random.integers(1, weeks + 1, 150),
            "display_location": random.choice(["0", "3", "9"], 150),
            "mailer_location": random.choice(["0", "A", "D"], 150),
        }
    ).drop_duplicates(["product_id", "outlet_id", "week"])
    products = pd.DataFrame(
        {"product_id": list(PRODUCTS), "ppg_id": list(PRODUCTS.values()), "category": "SOFT DRINKS"}
    )
    outlets = pd.DataFrame({"outlet_id": OUTLETS, "is_managed": [o != "o9" for o in OUTLETS]})
    prices = pd.DataFrame(
        [(p, w) for p in ("cola", "lemonade", "tea") for w in range(1, weeks + 1)], columns=["ppg_id", "week"]
    )
    prices["regular_price"] = 2.0
    prices["planned_price"] = random.choice([2.0, 1.5, 1.0], len(prices))
    return {
        "pos_lines": lines,
        "promotions": promotions,
        "products": products,
        "outlets": outlets,
        "weeks": calendar,
        "price_calendar": prices,
    }


@pytest.fixture(scope="session")
def tables() -> Callable[..., Tables]:
    """Random tables of a seed and a number of weeks, as pandas, to be changed at will."""
    return lambda seed=1, weeks=20: _tables(seed, weeks)


@pytest.fixture(scope="session")
def as_sources() -> Callable[[Tables], Sources]:
    """Tables as Ibis tables of one fresh DuckDB connection."""

    def made(tables: Tables) -> Sources:
        connection = ibis.duckdb.connect()
        connection.raw_sql("SET TimeZone = 'UTC'")
        for name, frame in tables.items():
            connection.con.register(f"{name}_frame", frame)
            connection.raw_sql(f"CREATE TABLE {name} AS SELECT * FROM {name}_frame")
        return Sources(**{name: connection.table(name) for name in tables})

    return made
