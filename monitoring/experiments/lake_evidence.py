"""What the lake knows of an experiment's outlets: sales of the portfolio, margin, availability, what was run."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from monitoring.experiments.outcomes import PRIMARY
from monitoring.experiments.readout import Evidence
from poplift.activation import parse_activation
from poplift.assignment import TREATMENT
from poplift.assumptions import Assumptions
from poplift.lake import Lake
from poplift.launches import Launch
from poplift.margin import placement_costs_usd
from poplift.market_week import SALES_DELAY


class EvidenceError(Exception):
    """The lake cannot answer for these ppgs; the message says what is missing."""


def outlet_weeks(lake: Lake, ppg_ids: Sequence[str], *, as_of: datetime, assumptions: Assumptions) -> pd.DataFrame:
    """Managed outlets x closed weeks: transactions of the own portfolio, of the category, margin, empty shelves.

    The own portfolio is every managed ppg of the makers of `ppg_ids`; the category every product of theirs. A week in
    which an outlet sold nothing of it is a zero; stock_out_share is there where availability is reported. Raises
    EvidenceError for a ppg that is not in the catalogue.
    """
    _register_products(lake, ppg_ids, as_of)
    closed = f"closes_at <= TIMESTAMPTZ '{(as_of - SALES_DELAY).isoformat()}'"
    lines = lake.query("pos_lines", as_of=as_of)
    base = "(sales_value + retail_discount + coupon_match_discount)"
    # As decimals, so that the sum does not depend on the order in which threads add.
    margin = f"(sales_value - {1 - assumptions.unit_margin} * {base})::DECIMAL(18, 6)"
    rows = lake.connection.sql(
        f"WITH lines AS (SELECT * FROM ({lines}) JOIN experiment_products USING (product_id)), "
        f"weeks AS (SELECT week FROM ({lake.query('weeks', as_of=as_of)}) WHERE {closed} "
        "AND week BETWEEN (SELECT min(week) FROM lines) AND (SELECT max(week) FROM lines)), "
        f"outlets AS (SELECT outlet_id FROM ({lake.query('outlets', as_of=as_of)}) WHERE is_managed), "
        f"sold AS (SELECT outlet_id, week, count(DISTINCT basket_id) FILTER (is_own) AS {PRIMARY}, "
        "count(DISTINCT basket_id) AS category_transactions, "
        f"sum({margin}) FILTER (is_own)::DOUBLE AS margin_usd "
        "FROM lines GROUP BY ALL) "
        f"SELECT outlet_id, week, coalesce({PRIMARY}, 0) AS {PRIMARY}, "
        "coalesce(category_transactions, 0) AS category_transactions, coalesce(margin_usd, 0) AS margin_usd "
        "FROM outlets CROSS JOIN weeks LEFT JOIN sold USING (outlet_id, week) ORDER BY outlet_id, week"
    ).df()
    return _with_shelves(lake, rows, as_of)


def strata(lake: Lake, history: pd.DataFrame, *, as_of: datetime, parts: int = 4) -> dict[str, str]:
    """Stratum of every outlet of the history: its banner, where known, and its quarter by volume."""
    volume = history.groupby("outlet_id")[PRIMARY].mean().sort_index()
    banners: dict[str, str] = {}
    if lake.parts("outlet_profiles"):
        query = lake.query("outlet_profiles", as_of=as_of)
        banners = dict(lake.connection.sql(f"SELECT outlet_id, banner FROM ({query})").fetchall())
    frame = pd.DataFrame({"banner": [banners.get(str(o), "all") for o in volume.index]}, index=volume.index)
    place = volume.groupby(frame["banner"]).rank(method="first", pct=True)
    quarter = (place * parts).clip(upper=parts - 1e-9).astype(int)
    return {str(o): f"{frame.loc[o, 'banner']} × volume {int(quarter[o]) + 1} of {parts}" for o in volume.index}


def evidence(lake: Lake, record: Launch, *, as_of: datetime, assumptions: Assumptions) -> Evidence:
    """Everything a readout asks for, as known at `as_of`; neighbours are not known to the lake.

    An outlet without a single line since the first week did not report: its weeks are left out. The declared cost of
    the activation is taken off the margin where it ran, or was to run where none of its outlets reported.
    """
    outcomes = outlet_weeks(lake, record.ppg_ids, as_of=as_of, assumptions=assumptions)
    since = outcomes["week"] >= record.first_week
    outcomes = outcomes[outcomes["outlet_id"].isin(_heard_of(lake, record, as_of)) | ~since].copy()
    reported = _reported(lake, record, as_of)
    outcomes["margin_usd"] -= _cost_usd(record, assumptions) * _ran(record, outcomes, reported)
    return Evidence(outcomes, reported=reported, served=_served(lake, record, as_of))


def _heard_of(lake: Lake, record: Launch, as_of: datetime) -> set[str]:
    """Outlets with a line of any product since the first week: no sale of the category is an outcome, not silence."""
    lines = lake.query("pos_lines", as_of=as_of)
    found = lake.connection.execute(
        f"SELECT DISTINCT outlet_id FROM ({lines}) WHERE week >= ?", [record.first_week]
    ).fetchall()
    return {str(row[0]) for row in found}


def _cost_usd(record: Launch, assumptions: Assumptions) -> float:
    """Declared cost of one outlet-week with the activation; what a price cut gives away is in the sales."""
    (each,) = placement_costs_usd([parse_activation(record.activation)], assumptions=assumptions)
    return len(record.ppg_ids) * float(each)


def _ran(record: Launch, outcomes: pd.DataFrame, reported: pd.DataFrame | None) -> pd.Series:
    """Which rows of the outcomes had the activation: as reported, or as planned where nobody reported."""
    last = record.first_week + record.weeks - 1
    within = outcomes["week"].between(record.first_week, last)
    if reported is None:
        return outcomes["outlet_id"].map(record.arms).eq(TREATMENT) & within
    ran = reported[reported["activation"] == record.activation]
    cells = pd.MultiIndex.from_frame(outcomes[["outlet_id", "week"]])
    return pd.Series(cells.isin(pd.MultiIndex.from_frame(ran[["outlet_id", "week"]])), index=outcomes.index) & within


def _register_products(lake: Lake, ppg_ids: Sequence[str], as_of: datetime) -> None:
    """Name the products of the category in experiment_products; `is_own` are those of the own portfolio."""
    products = lake.query("products", as_of=as_of)
    found = lake.connection.sql(f"SELECT DISTINCT ppg_id FROM ({products}) WHERE ppg_id IS NOT NULL").fetchall()
    known = sorted(row[0] for row in found)
    absent = sorted(set(ppg_ids) - set(known))
    if absent:
        raise EvidenceError(
            f"no ppg {', '.join(absent)} in the catalogue; it has {len(known)}, such as {', '.join(known[:3])}"
        )
    mine = f"SELECT * FROM ({products}) WHERE ppg_id IN (SELECT unnest(?::VARCHAR[]))"
    lake.connection.execute(
        "CREATE OR REPLACE TEMP TABLE experiment_products AS SELECT product_id, "
        f"ppg_id IS NOT NULL AND manufacturer_id IN (SELECT manufacturer_id FROM ({mine})) AS is_own "
        f"FROM ({products}) WHERE category IN (SELECT category FROM ({mine}))",
        [list(ppg_ids), list(ppg_ids)],
    )


def _with_shelves(lake: Lake, rows: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    if not lake.parts("availability"):
        return rows
    query = lake.query("availability", as_of=as_of)
    empty = lake.connection.sql(
        "SELECT outlet_id, week, count(*)::DOUBLE / "
        f"(SELECT count(DISTINCT ppg_id) FROM ({lake.query('products', as_of=as_of)})) AS stock_out_share "
        f"FROM ({query}) GROUP BY ALL"
    ).df()
    joined = rows.merge(empty, on=["outlet_id", "week"], how="left")
    return joined.assign(stock_out_share=joined["stock_out_share"].fillna(0.0))


def _reported(lake: Lake, record: Launch, as_of: datetime) -> pd.DataFrame | None:
    """What outlets of the experiment ran of its ppgs in its weeks; None where none of them ever said.

    A report that it was shown or opened says nothing of whether it was run.
    """
    if not (lake.parts("executions") and lake.parts("decisions")):
        return None
    said = lake.connection.execute(
        "SELECT outlet_id, week, coalesce(e.activation, d.activation) AS activation, outcome "
        f"FROM ({lake.query('executions', as_of=as_of)}) AS e JOIN ({lake.query('decisions', as_of=as_of)}) AS d "
        f"USING (decision_id) JOIN ({lake.query('weeks', as_of=as_of)}) ON starts_at = week_starts_at "
        "WHERE outcome IN ('executed', 'refused') AND ppg_id IN (SELECT unnest(?)) AND week BETWEEN ? AND ? "
        "AND outlet_id IN (SELECT unnest(?))",
        [list(record.ppg_ids), record.first_week, record.first_week + record.weeks - 1, list(record.arms)],
    ).df()
    return None if said.empty else said.loc[said["outcome"] == "executed", ["outlet_id", "week", "activation"]]


def _served(lake: Lake, record: Launch, as_of: datetime) -> dict[str, str] | None:
    """Arm that the decision log names for every outlet asked about in the experiment's weeks.

    Of an outlet that was served both it is the one it was not drawn for: having been served that once is what counts.
    """
    if not lake.parts("decisions"):
        return None
    rows = lake.connection.execute(
        f"SELECT DISTINCT outlet_id, arm FROM ({lake.query('decisions', as_of=as_of)}) WHERE experiment = ?",
        [record.name],
    ).fetchall()
    return dict(sorted(rows, key=lambda row: record.arms.get(row[0]) != row[1]))
