"""How busy an outlet is, from all of its POS lines; shoppers only as counts."""

from dataclasses import replace

import ibis
from ibis import _

from feature_repo.transformations.panel import baskets, known_weeks, managed_products, stamped
from feature_repo.transformations.sources import Sources


def outlet_trend(sources: Sources) -> ibis.Table:
    """Grain: managed outlet x week, weeks without a single basket included. Means over 4 and 13 weeks."""
    categories = managed_products(sources).select("category").distinct()
    in_category = sources.products.semi_join(categories, "category").select("product_id")
    cell_keys = ["outlet_id", "week"]
    traffic = (
        baskets(sources).group_by(cell_keys).aggregate(baskets=_.basket_id.nunique(), shoppers=_.shopper_id.nunique())
    )
    category = (
        baskets(replace(sources, pos_lines=sources.pos_lines.semi_join(in_category, "product_id")))
        .group_by(cell_keys)
        .aggregate(category_baskets=_.basket_id.nunique())
    )
    cell = (
        sources.outlets.filter(_.is_managed)
        .select("outlet_id")
        .cross_join(known_weeks(sources))
        .left_join(traffic, ["outlet_id", "week"])
        .select("outlet_id", "week", "closes_at", "baskets", "shoppers")
        .left_join(category, ["outlet_id", "week"])
        .select(
            "outlet_id",
            "week",
            "closes_at",
            baskets=_.baskets.fill_null(0).cast("float64"),
            shoppers=_.shoppers.fill_null(0).cast("float64"),
            category_baskets=_.category_baskets.fill_null(0).cast("float64"),
        )
    )
    month = ibis.window(group_by="outlet_id", order_by="week", preceding=3, following=0)
    quarter = ibis.window(group_by="outlet_id", order_by="week", preceding=12, following=0)
    table = cell.select(
        "outlet_id",
        "week",
        "closes_at",
        outlet_baskets_4w=cell.baskets.mean().over(month),
        outlet_baskets_13w=cell.baskets.mean().over(quarter),
        outlet_category_baskets_4w=cell.category_baskets.mean().over(month),
        outlet_category_baskets_13w=cell.category_baskets.mean().over(quarter),
        outlet_shoppers_4w=cell.shoppers.mean().over(month),
        outlet_shoppers_13w=cell.shoppers.mean().over(quarter),
    )
    return stamped(table, "outlet_id")
