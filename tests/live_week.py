"""A tiny chain in the middle of its second week: two managed outlets and one that is not, two ppgs, a loose product."""

import json
from datetime import UTC, datetime, timedelta

from poplift.arrivals import Arrival
from poplift.lake import Lake

OPENS = datetime(2017, 1, 9, 5, tzinfo=UTC)
NOW = datetime(2017, 1, 12, 12, tzinfo=UTC)
KNOWN = "TIMESTAMPTZ '2016-12-01 00:00:00+00'"
PRODUCTS = {"p1": "cola", "p2": "cola", "p3": "tea", "p8": None}
OUTLETS = {"o1": True, "o2": True, "o9": False}


def chain(root, *, threads=1):
    """A lake with calendar, catalogue and outlets, and one landed line in week 1."""
    lake = Lake(root, threads=threads)
    lake.append(
        "weeks",
        f"SELECT week, TIMESTAMPTZ '{OPENS.isoformat()}' + to_days(7 * (week::INT - 2)) AS starts_at, "
        f"TIMESTAMPTZ '{OPENS.isoformat()}' + to_days(7 * (week::INT - 1)) AS closes_at, {KNOWN} AS created_at "
        "FROM range(1, 5) AS r(week)",
    )
    products = ", ".join(f"('{p}', {'NULL' if g is None else repr(g)})" for p, g in PRODUCTS.items())
    lake.append(
        "products",
        "SELECT product_id, 'm' AS manufacturer_id, NULL::VARCHAR AS department, NULL::VARCHAR AS brand, "
        "'DRINKS' AS category, NULL::VARCHAR AS product_type, NULL::VARCHAR AS package_size, ppg_id, "
        f"{KNOWN} AS effective_at, {KNOWN} AS created_at FROM (VALUES {products}) AS v(product_id, ppg_id)",
    )
    outlets = ", ".join(f"('{o}', {managed})" for o, managed in OUTLETS.items())
    lake.append(
        "outlets",
        f"SELECT outlet_id, is_managed, {KNOWN} AS effective_at, {KNOWN} AS created_at "
        f"FROM (VALUES {outlets}) AS v(outlet_id, is_managed)",
    )
    lake.append(
        "pos_lines",
        "SELECT 'old' AS basket_id, 'p1' AS product_id, 'o1' AS outlet_id, NULL::VARCHAR AS shopper_id, 1 AS week, "
        f"TIMESTAMPTZ '{(OPENS - timedelta(days=3)).isoformat()}' AS sold_at, 1 AS quantity, 1.0 AS sales_value, "
        "0.0 AS retail_discount, 0.0 AS coupon_discount, 0.0 AS coupon_match_discount, "
        f"TIMESTAMPTZ '{(OPENS + timedelta(days=1)).isoformat()}' AS created_at",
    )
    return lake


def line(basket="b1", product="p1", **changed):
    """One line of the open week as a message carries it; a value of ... leaves the field out."""
    whole = {
        "basket_id": basket,
        "product_id": product,
        "outlet_id": "o1",
        "shopper_id": None,
        "week": 2,
        "sold_at": "2017-01-10T12:00:00+00:00",
        "quantity": 1,
        "sales_value": 1.5,
        "retail_discount": 0.0,
        "coupon_discount": 0.0,
        "coupon_match_discount": 0.0,
    } | changed
    return {name: value for name, value in whole.items() if value is not ...}


def arrival(sent, *, number=0, seconds=0.0):
    """The line as it arrives, so many seconds after NOW - 1 hour; a message of bytes is taken as it is."""
    payload = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    return Arrival(f"m{number}", NOW - timedelta(hours=1) + timedelta(seconds=seconds), payload)


def cells(rows):
    """(outlet, ppg) → the row without its key, from Arrow or from a list of dictionaries."""
    found = rows.to_pylist() if hasattr(rows, "to_pylist") else rows
    return {
        (r["outlet_id"], r["ppg_id"]): {k: v for k, v in r.items() if k not in {"outlet_id", "ppg_id"}} for r in found
    }


def values(rows):
    """As `cells`, the feature values alone."""
    return {cell: {k: v for k, v in row.items() if not k.endswith("_timestamp")} for cell, row in cells(rows).items()}
