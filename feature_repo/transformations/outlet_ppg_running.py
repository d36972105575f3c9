"""What one ppg sold at one outlet in the week that is still open, line by line as the lines arrive."""

from typing import Protocol

import ibis
from ibis import _

LINE = ("basket_id", "product_id")
CELL = ("outlet_id", "ppg_id")


class OpenWeek(Protocol):
    """The Ibis tables of one open week.

    `pos_lines` holds every known version of every line that was ever said to belong to the week, `weeks` the open
    week alone, or nothing when the calendar has none.
    """

    @property
    def pos_lines(self) -> ibis.Table:
        """Versions of POS lines."""

    @property
    def products(self) -> ibis.Table:
        """The catalogue."""

    @property
    def outlets(self) -> ibis.Table:
        """All outlets."""

    @property
    def weeks(self) -> ibis.Table:
        """The open week."""


def outlet_ppg_running(open_week: OpenWeek) -> ibis.Table:
    """Grain: managed outlet x managed ppg. Sales from the opening of the week until now, zeros included.

    Both timestamps only ever grow with what arrives, a line that leaves the cell by a correction included: an online
    store that keeps the newest row would otherwise refuse the corrected one.
    """
    ppgs = open_week.products.filter(_.ppg_id.notnull()).select("product_id", "ppg_id")
    cells = _cells(_versions(open_week.pos_lines.inner_join(ppgs, "product_id")).semi_join(open_week.weeks, "week"))
    outlets = open_week.outlets.filter(_.is_managed).select("outlet_id")
    grid = outlets.cross_join(ppgs.select("ppg_id").distinct()).cross_join(open_week.weeks.select("week", "starts_at"))
    return grid.left_join(cells, list(CELL)).select(
        *CELL,
        # A line may be dated before its week opened, and a week without a line has no newest one.
        event_timestamp=ibis.greatest(_.starts_at, _.newest_sold_at.fill_null(_.starts_at)),
        created_timestamp=ibis.greatest(_.starts_at, _.changed_at.fill_null(_.starts_at)),
        transactions_week_to_date=_.transactions.fill_null(0).cast("float64"),
        units_week_to_date=_.units.fill_null(0).cast("float64"),
        sales_usd_week_to_date=_.sales.fill_null(0).cast("float64"),
        open_week=_.week.cast("float64"),
    )


def _versions(lines: ibis.Table) -> ibis.Table:
    """The lines with `is_newest` and with when any version of the line last became known."""
    rest = [name for name in lines.columns if name not in {*LINE, "created_at", "ppg_id"}]
    # The order of Lake.read: equal created_at is decided by the values.
    newest_first = ibis.window(group_by=list(LINE), order_by=[ibis.desc("created_at"), *rest])
    return lines.mutate(
        is_newest=ibis.row_number().over(newest_first) == 0,
        line_changed_at=_.created_at.max().over(ibis.window(group_by=list(LINE))),
    )


def _cells(versions: ibis.Table) -> ibis.Table:
    return versions.group_by(list(CELL)).aggregate(
        transactions=_.basket_id.nunique(where=_.is_newest),
        units=_.quantity.sum(where=_.is_newest),
        # Exact decimals: the sum of floats depends on the order of the lines.
        sales=_.sales_value.cast("decimal(38, 6)").sum(where=_.is_newest),
        newest_sold_at=_.sold_at.max(),
        changed_at=_.line_changed_at.max(),
    )
