"""How a ppg does across the chain, and what it normally costs."""

import ibis
from ibis import _

from feature_repo.transformations.panel import panel, stamped
from feature_repo.transformations.sources import Sources

SMOOTHING = 0.01  # baskets per outlet and week; keeps the trend of a ppg that hardly sells near one


def base_prices(sources: Sources) -> ibis.Table:
    """Grain: ppg x week. Median regular price, USD per unit, over the 13 weeks up to and including the week.

    The median, because a regular price read off the shelf has odd weeks when little is sold.
    """
    prices = sources.price_calendar.select("ppg_id", "regular_price", price_week=_.week)
    horizons = sources.weeks.select("week")
    return (
        prices.join(horizons, [prices.price_week <= horizons.week, prices.price_week > horizons.week - 13])
        .group_by(["ppg_id", "week"])
        .aggregate(base_price_13w=_.regular_price.median())
    )


def ppg_trend(sources: Sources) -> ibis.Table:
    """Grain: managed ppg x week. Transactions are baskets per managed outlet and week; prices USD per unit."""
    chain = (
        panel(sources)
        .group_by(["ppg_id", "week", "closes_at"])
        .aggregate(transactions=_.transactions.mean(), promoted=ibis.greatest(_.display, _.mailer).mean())
        .left_join(sources.price_calendar.select("ppg_id", "week", "planned_price"), ["ppg_id", "week"])
        .select("ppg_id", "week", "closes_at", "transactions", "promoted", "planned_price")
        .left_join(base_prices(sources), ["ppg_id", "week"])
        .select("ppg_id", "week", "closes_at", "transactions", "promoted", "planned_price", "base_price_13w")
    )

    def past(weeks: int) -> ibis.expr.builders.WindowBuilder:
        return ibis.window(group_by="ppg_id", order_by="week", preceding=weeks - 1, following=0)

    y = chain.transactions
    price = chain.planned_price.fill_null(chain.base_price_13w)
    table = chain.select(
        "ppg_id",
        "week",
        "closes_at",
        "base_price_13w",
        ppg_transactions_1w=y,
        ppg_transactions_4w=y.mean().over(past(4)),
        ppg_transactions_13w=y.mean().over(past(13)),
        ppg_trend_4w=(y.mean().over(past(4)) + SMOOTHING) / (y.mean().over(past(13)) + SMOOTHING),
        ppg_promoted_share_13w=chain.promoted.mean().over(past(13)),
        price_lag_1=price,
        depth_lag_1=ibis.greatest(0.0, 1.0 - price / chain.base_price_13w),
    )
    return stamped(table, "ppg_id")
