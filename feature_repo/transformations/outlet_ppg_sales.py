"""What one ppg sold at one outlet lately: lags, means over growing windows, and how often nothing was sold."""

import ibis
from ibis import _

from feature_repo.transformations.panel import panel, stamped
from feature_repo.transformations.sources import Sources

NEVER_SOLD = 27  # weeks: one more than half a year, the longest gap told apart from never


def outlet_ppg_sales(sources: Sources) -> ibis.Table:
    """Grain: outlet x ppg x week. Sales history up to and including the week; transactions are baskets."""
    cell = panel(sources).mutate(sold_week=ibis.ifelse(_.transactions > 0, _.week, ibis.null("int64")))

    def past(weeks: int | None) -> ibis.expr.builders.WindowBuilder:
        preceding = None if weeks is None else weeks - 1
        return ibis.window(group_by=["outlet_id", "ppg_id"], order_by="week", preceding=preceding, following=0)

    ordered = ibis.window(group_by=["outlet_id", "ppg_id"], order_by="week")
    y = cell.transactions
    table = cell.select(
        "outlet_id",
        "ppg_id",
        "week",
        "closes_at",
        transactions_lag_1=y,
        transactions_lag_2=y.lag(1).over(ordered).fill_null(0.0),
        transactions_lag_3=y.lag(2).over(ordered).fill_null(0.0),
        transactions_lag_4=y.lag(3).over(ordered).fill_null(0.0),
        transactions_mean_4w=y.mean().over(past(4)),
        transactions_mean_13w=y.mean().over(past(13)),
        transactions_mean_all=y.mean().over(past(None)),
        transactions_max_13w=y.max().over(past(13)),
        zero_share_13w=(y == 0).cast("float64").mean().over(past(13)),
        weeks_since_sale=ibis.least(
            (cell.week - cell.sold_week.max().over(past(None)) + 1).fill_null(NEVER_SOLD), NEVER_SOLD
        ),
        units_mean_13w=cell.units.mean().over(past(13)),
        units_per_transaction_26w=((cell.units.sum().over(past(26)) + 1.0) / (y.sum().over(past(26)) + 1.0)),
    )
    return stamped(table, "outlet_id", "ppg_id")
