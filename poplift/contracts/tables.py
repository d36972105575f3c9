"""The contracts of the lake: one definition per table, read by sources, checks, docs and the compatibility test."""

from datetime import timedelta

from poplift.contracts.decisions import DECISION_CONTRACTS
from poplift.contracts.schema import Column, Contract

MANY_UNITS = 100_000  # fuel is counted in thousandths of a gallon


def _key(name: str, what: str, references: str | None = None) -> Column:
    return Column(name=name, kind="string", description=what, references=references)


def _money(name: str, what: str) -> Column:
    return Column(name=name, kind="float", description=what, unit="USD", minimum=0, maximum=1e6)


def _week() -> Column:
    return Column(
        name="week",
        kind="int",
        description="Week number of the source, never a truncation.",
        references="weeks.week",
    )


def _instant(name: str, what: str, *, may_be_future: bool = True) -> Column:
    return Column(name=name, kind="timestamp", description=what, unit="UTC", may_be_future=may_be_future)


CREATED_AT = _instant("created_at", "When the row became known.", may_be_future=False)

WEEKS = Contract(
    table="weeks",
    version=1,
    grain="One row per week of the source's calendar.",
    owner="product-ml",
    key=("week",),
    event_time="starts_at",
    freshness=timedelta(days=366),
    columns=(
        Column(name="week", kind="int", description="Week number of the source.", minimum=1),
        _instant("starts_at", "Opening instant of the week."),
        _instant("closes_at", "First instant after the week."),
        CREATED_AT,
    ),
)
PRODUCTS = Contract(
    table="products",
    version=1,
    grain="One row per product of the catalogue.",
    owner="category-management",
    key=("product_id",),
    event_time="effective_at",
    freshness=timedelta(days=366),
    columns=(
        _key("product_id", "Product of the catalogue."),
        _key("manufacturer_id", "Who makes it."),
        Column(name="department", kind="string", description="Department of the store.", nullable=True),
        Column(name="brand", kind="string", description="National or Private.", nullable=True),
        Column(name="category", kind="string", description="Category, e.g. SOFT DRINKS.", nullable=True),
        Column(name="product_type", kind="string", description="Pack and kind.", nullable=True),
        Column(name="package_size", kind="string", description="Free text size.", nullable=True),
        Column(
            name="ppg_id",
            kind="string",
            nullable=True,
            description="Promoted product group; null outside the managed assortment.",
        ),
        _instant("effective_at", "From when the row holds."),
        CREATED_AT,
    ),
)
OUTLETS = Contract(
    table="outlets",
    version=1,
    grain="One row per outlet.",
    owner="field-sales",
    key=("outlet_id",),
    event_time="effective_at",
    freshness=timedelta(days=366),
    columns=(
        _key("outlet_id", "Selling location."),
        Column(name="is_managed", kind="bool", description="Activations are recorded for it."),
        _instant("effective_at", "From when the row holds."),
        CREATED_AT,
    ),
)
POS_LINES = Contract(
    table="pos_lines",
    version=1,
    grain="One row per product line of one basket at one outlet.",
    owner="retail-data",
    key=("basket_id", "product_id"),
    event_time="sold_at",
    freshness=timedelta(days=8),
    columns=(
        _key("basket_id", "One purchase at a till."),
        _key("product_id", "What was bought.", "products.product_id"),
        _key("outlet_id", "Where it was bought.", "outlets.outlet_id"),
        Column(
            name="shopper_id",
            kind="string",
            personal="pseudonym",
            nullable=True,
            description="Keyed pseudonym of the household, null without a card; leaves the lake only aggregated.",
        ),
        _week(),
        _instant("sold_at", "When it was bought.", may_be_future=False),
        Column(
            name="quantity",
            kind="int",
            unit="units",
            minimum=1,
            maximum=MANY_UNITS,
            description="Units bought; a line of nothing is no sale.",
        ),
        _money("sales_value", "Received by the retailer for the line."),
        _money("retail_discount", "Loyalty discount of the line."),
        _money("coupon_discount", "Manufacturer coupon of the line."),
        _money("coupon_match_discount", "Retailer's match of the coupon."),
        CREATED_AT,
    ),
)
PROMOTIONS = Contract(
    table="promotions",
    version=1,
    grain="One row per product, outlet, week, display place and mailer place.",
    owner="trade-marketing",
    key=("product_id", "outlet_id", "week", "display_location", "mailer_location"),
    event_time="effective_at",
    freshness=timedelta(days=15),
    columns=(
        _key("product_id", "What was promoted.", "products.product_id"),
        _key("outlet_id", "Where.", "outlets.outlet_id"),
        _week(),
        Column(name="display_location", kind="string", description="Place of the display, 0 for none."),
        Column(name="mailer_location", kind="string", description="Place in the mailer, 0 for none."),
        _instant("effective_at", "Opening of the week."),
        CREATED_AT,
    ),
)
PRICE_CALENDAR = Contract(
    table="price_calendar",
    version=1,
    grain="One row per ppg and week: the price planned for the whole chain.",
    owner="pricing",
    key=("ppg_id", "week"),
    event_time="effective_at",
    freshness=timedelta(days=15),
    columns=(
        _key("ppg_id", "Promoted product group.", "products.ppg_id"),
        _week(),
        Column(
            name="regular_price",
            kind="float",
            unit="USD per unit",
            minimum=0.01,
            maximum=1e4,
            description="Price without the cut.",
        ),
        Column(
            name="planned_price",
            kind="float",
            unit="USD per unit",
            minimum=0.01,
            maximum=1e4,
            description="Price with the planned cut.",
        ),
        _instant("effective_at", "Opening of the week."),
        CREATED_AT,
    ),
)

OUTLET_PROFILES = Contract(
    table="outlet_profiles",
    version=1,
    grain="One row per outlet: what kind of outlet it is.",
    owner="field-sales",
    key=("outlet_id",),
    event_time="effective_at",
    freshness=timedelta(days=366),
    columns=(
        _key("outlet_id", "Selling location.", "outlets.outlet_id"),
        Column(name="banner", kind="string", description="Chain or format it belongs to."),
        Column(name="area", kind="string", description="Kind of neighbourhood; effects and errors are compared by it."),
        Column(name="income", kind="float", description="Income around it, standardised.", unit="sd", nullable=True),
        Column(name="coolers", kind="float", description="Coolers of ours in it.", minimum=0, nullable=True),
        _instant("effective_at", "From when the row holds."),
        CREATED_AT,
    ),
)
AVAILABILITY = Contract(
    table="availability",
    version=1,
    grain="One row per outlet, ppg and week whose shelf was reported empty.",
    owner="retail-data",
    key=("outlet_id", "ppg_id", "week"),
    event_time="reported_at",
    freshness=timedelta(days=15),
    columns=(
        _key("outlet_id", "Where.", "outlets.outlet_id"),
        _key("ppg_id", "Promoted product group.", "products.ppg_id"),
        _week(),
        _instant("reported_at", "When it was reported.", may_be_future=False),
        CREATED_AT,
    ),
)

# What a source delivers, in the order of their references: a table comes after what it points to.
CONTRACTS: tuple[Contract, ...] = (WEEKS, PRODUCTS, OUTLETS, POS_LINES, PROMOTIONS, PRICE_CALENDAR)
# What it may deliver besides: effects use it where it is there.
OPTIONAL_CONTRACTS: tuple[Contract, ...] = (OUTLET_PROFILES, AVAILABILITY)
EVERY_CONTRACT = (*CONTRACTS, *OPTIONAL_CONTRACTS, *DECISION_CONTRACTS)


def contract(table: str) -> Contract:
    """The contract of a table; KeyError that lists the known tables otherwise."""
    known = {c.table: c for c in EVERY_CONTRACT}
    if table not in known:
        raise KeyError(f"no contract for table {table!r}; known tables: {', '.join(known)}")
    return known[table]
