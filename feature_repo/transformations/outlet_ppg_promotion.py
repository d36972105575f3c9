"""How one ppg was promoted at one outlet so far, and what it sold with and without."""

import ibis
from ibis import _

from feature_repo.transformations.panel import panel, stamped
from feature_repo.transformations.sources import Sources

NEVER_PROMOTED = 27  # weeks: one more than half a year


def outlet_ppg_promotion(sources: Sources) -> ibis.Table:
    """Grain: outlet x ppg x week. Promotion history up to and including the week.

    Rates are shrunk towards the cell's own mean by four weeks' weight, so that one lucky week is no uplift.
    """
    cell = panel(sources).mutate(promoted=ibis.greatest(_.display, _.mailer))
    cell = cell.mutate(
        promoted_week=ibis.ifelse(_.promoted > 0, _.week, ibis.null("int64")),
        base_transactions=_.transactions * (1.0 - _.promoted),
        promoted_transactions=_.transactions * _.promoted,
    )

    def past(weeks: int | None) -> ibis.expr.builders.WindowBuilder:
        preceding = None if weeks is None else weeks - 1
        return ibis.window(group_by=["outlet_id", "ppg_id"], order_by="week", preceding=preceding, following=0)

    mean = cell.transactions.mean().over(past(None))
    promoted_weeks = cell.promoted.sum().over(past(None))
    base_weeks = (1.0 - cell.promoted).sum().over(past(None))
    table = cell.select(
        "outlet_id",
        "ppg_id",
        "week",
        "closes_at",
        base_rate=(cell.base_transactions.sum().over(past(None)) + 4.0 * mean) / (base_weeks + 4.0),
        promoted_rate=(cell.promoted_transactions.sum().over(past(None)) + 4.0 * mean) / (promoted_weeks + 4.0),
        display_share_13w=cell.display.mean().over(past(13)),
        mailer_share_13w=cell.mailer.mean().over(past(13)),
        display_lag_1=cell.display,
        mailer_lag_1=cell.mailer,
        promoted_weeks_4w=cell.promoted.sum().over(past(4)),
        weeks_since_promotion=ibis.least(
            (cell.week - cell.promoted_week.max().over(past(None)) + 1).fill_null(NEVER_PROMOTED),
            NEVER_PROMOTED,
        ),
    )
    return stamped(table, "outlet_id", "ppg_id")
