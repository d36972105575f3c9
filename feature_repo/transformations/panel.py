"""The zero-filled outlet x ppg x week panel that every sales and promotion statistic starts from."""

import ibis
from ibis import _

from feature_repo.transformations.sources import Sources
from poplift.market_week import SALES_DELAY

CELL = ("outlet_id", "ppg_id", "week")


def managed_products(sources: Sources) -> ibis.Table:
    """Grain: one product of the managed assortment. Columns: product_id, ppg_id, category."""
    return sources.products.filter(_.ppg_id.notnull()).select("product_id", "ppg_id", "category")


def managed_lines(sources: Sources) -> ibis.Table:
    """Grain: one POS line of a managed product, at any outlet, with its ppg_id."""
    assortment = managed_products(sources).select("product_id", "ppg_id")
    return sources.pos_lines.inner_join(assortment, "product_id")


def baskets(sources: Sources) -> ibis.Table:
    """Grain: one basket, by where, by whom and when. Columns: basket_id, outlet_id, shopper_id, week.

    Counting baskets from here compares a seventh of the rows that counting them from the lines does.
    """
    return sources.pos_lines.select("basket_id", "outlet_id", "shopper_id", "week").distinct()


def known_weeks(sources: Sources, sold: ibis.Table | None = None) -> ibis.Table:
    """Grain: one week whose sales have landed. Columns: week, closes_at.

    The calendar also holds weeks to come; those have no sales yet, which is not the same as zero sales. `sold` is
    any table with the weeks of the lines, for a view that has one: DuckDB would copy lines that are read twice.
    """
    last = (sources.pos_lines if sold is None else sold).aggregate(first_week=_.week.min(), last_week=_.week.max())
    return (
        sources.weeks.cross_join(last).filter(_.week >= _.first_week, _.week <= _.last_week).select("week", "closes_at")
    )


def grid(sources: Sources, weeks: ibis.Table) -> ibis.Table:
    """Grain: managed outlet x managed ppg x every row of `weeks`, whether anything was sold or not."""
    outlets = sources.outlets.filter(_.is_managed).select("outlet_id")
    ppgs = managed_products(sources).select("ppg_id").distinct()
    return outlets.cross_join(ppgs).cross_join(weeks)


def activations(sources: Sources) -> ibis.Table:
    """Grain: outlet x ppg x week with a recorded promotion. Columns: the cell, display and mailer (0/1).

    A ppg counts as activated when any of its products is: that is how ppgs are promoted.
    """
    promoted = sources.promotions.inner_join(managed_products(sources).select("product_id", "ppg_id"), "product_id")
    return promoted.group_by(list(CELL)).aggregate(
        display=(_.display_location != "0").cast("int64").max(),
        mailer=(_.mailer_location != "0").cast("int64").max(),
    )


def sales(sources: Sources) -> ibis.Table:
    """Grain: outlet x ppg x week with a sale. Columns: the cell, transactions (distinct baskets), units."""
    return (
        managed_lines(sources)
        .group_by(list(CELL))
        .aggregate(transactions=_.basket_id.nunique(), units=_.quantity.sum())
    )


def panel(sources: Sources) -> ibis.Table:
    """Grain: managed outlet x managed ppg x week whose sales have landed; complete, zeros included.

    Columns: the cell, closes_at (UTC), transactions (baskets), units, display, mailer (0/1). Conditioning on a
    sale would hide most of the lift, hence the zeros.
    """
    cells = grid(sources, known_weeks(sources))
    sold = sales(sources)
    active = activations(sources)
    return (
        cells.left_join(sold, list(CELL))
        .select(*CELL, "closes_at", "transactions", "units")
        .left_join(active, list(CELL))
        .select(
            *CELL,
            "closes_at",
            transactions=_.transactions.fill_null(0).cast("float64"),
            units=_.units.fill_null(0).cast("float64"),
            display=_.display.fill_null(0).cast("float64"),
            mailer=_.mailer.fill_null(0).cast("float64"),
        )
    )


def stamped(table: ibis.Table, *entities: str) -> ibis.Table:
    """Give a table with closes_at its two timestamps: about the week's end, known one day later.

    Grain unchanged. Keeps `entities` and every feature, drops week and closes_at.
    """
    features = [c for c in table.columns if c not in {*entities, "week", "closes_at"}]
    return table.select(
        *entities,
        event_timestamp=_.closes_at,
        created_timestamp=_.closes_at + ibis.interval(days=SALES_DELAY.days),
        **{name: table[name].cast("float64") for name in features},
    )
