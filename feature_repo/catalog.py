"""The one home of feature names: every view with its features, units, age limits and the code that builds it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from feature_repo.transformations.planned_activation import INPUTS

if TYPE_CHECKING:
    import ibis

    from feature_repo.transformations.sources import Sources

__all__ = [
    "BATCH_FEATURES",
    "BUILT",
    "DEMAND_SERVING",
    "DEMAND_TRAINING",
    "EARLIER_SERVICES",
    "EARLIER_VIEWS",
    "EFFECTS",
    "EFFECT_VIEW",
    "MODEL_FEATURES",
    "ON_DEMAND",
    "ON_DEMAND_INPUTS",
    "REQUEST_FIELDS",
    "RUNNING",
    "RUNNING_VIEWS",
    "VIEWS",
    "EarlierService",
    "Feature",
    "View",
    "transformation",
]

OWNER = "product-ml"
HARD_AGE = timedelta(days=21)  # older than three weeks: serving falls back to defaults and says so
SOFT_AGE = timedelta(days=8)  # data is weekly, one day late; older than that is flagged

DEMAND_TRAINING = "demand_training_v1"  # batch views and the on-demand view
DEMAND_SERVING = "demand_serving_v1"  # batch views only; serving applies planned_activation per candidate
RUNNING = "running_v1"  # the week that is still open; no model reads it
EFFECTS = "effects_v1"  # what every activation adds at every outlet and ppg; the planner and its readers use it


@dataclass(frozen=True)
class Feature:
    """One column: its name is unique over all views."""

    name: str
    description: str
    unit: str


@dataclass(frozen=True)
class View:
    """One feature table: entity columns, event_timestamp, created_timestamp and float64 features."""

    name: str
    entities: tuple[str, ...]
    features: tuple[Feature, ...]
    description: str
    build: "Callable[[Sources], ibis.Table]"
    ttl: timedelta = HARD_AGE
    soft_age: timedelta = SOFT_AGE
    owner: str = OWNER


@dataclass(frozen=True)
class EarlierService:
    """A service of before that somebody may still read; `retired` says since when and why it may go."""

    name: str
    views: tuple[str, ...]
    with_plan: bool = False
    retired: str = ""


def transformation(name: str) -> "Callable[[Sources], ibis.Table]":
    """The function of the module of its name in `feature_repo.transformations`.

    It is imported when a table is built: who only wants names, serving above all, does not wait for Ibis.
    """
    return partial(_transform, name)


def _transform(name: str, sources: "Sources") -> "ibis.Table":
    table: ibis.Table = getattr(import_module(f"feature_repo.transformations.{name}"), name)(sources)
    return table


RATE = "baskets/week"
USD = "USD/unit"

VIEWS: tuple[View, ...] = (
    View(
        name="outlet_ppg_sales",
        entities=("outlet_id", "ppg_id"),
        description="One row per managed outlet x ppg x week: what sold lately.",
        build=transformation("outlet_ppg_sales"),
        features=(
            Feature("transactions_lag_1", "Transactions of the last closed week", "baskets"),
            Feature("transactions_lag_2", "Transactions two weeks ago", "baskets"),
            Feature("transactions_lag_3", "Transactions three weeks ago", "baskets"),
            Feature("transactions_lag_4", "Transactions four weeks ago", "baskets"),
            Feature("transactions_mean_4w", "Mean transactions over 4 weeks", RATE),
            Feature("transactions_mean_13w", "Mean transactions over 13 weeks", RATE),
            Feature("transactions_mean_all", "Mean transactions over all history", RATE),
            Feature("transactions_max_13w", "Best week of the last 13", "baskets"),
            Feature("zero_share_13w", "Share of the last 13 weeks without a transaction", "share"),
            Feature("weeks_since_sale", "Weeks from the last week with a sale; 27 = longer or never", "weeks"),
            Feature("units_mean_13w", "Mean units over 13 weeks", "units/week"),
            Feature("units_per_transaction_26w", "Units per transaction over 26 weeks", "units/basket"),
        ),
    ),
    View(
        name="outlet_ppg_promotion",
        entities=("outlet_id", "ppg_id"),
        description="One row per managed outlet x ppg x week: promotion history and what it came with.",
        build=transformation("outlet_ppg_promotion"),
        features=(
            Feature("base_rate", "Mean transactions over weeks without promotion, shrunk", RATE),
            Feature("promoted_rate", "Mean transactions over promoted weeks, shrunk", RATE),
            Feature("display_share_13w", "Share of the last 13 weeks on display", "share"),
            Feature("mailer_share_13w", "Share of the last 13 weeks in the mailer", "share"),
            Feature("display_lag_1", "On display last week", "0/1"),
            Feature("mailer_lag_1", "In the mailer last week", "0/1"),
            Feature("promoted_weeks_4w", "Promoted weeks of the last 4", "weeks"),
            Feature("weeks_since_promotion", "Weeks from the last promotion; 27 = longer or never", "weeks"),
        ),
    ),
    View(
        name="outlet_ppg_shoppers",
        entities=("outlet_id", "ppg_id"),
        description="One row per managed outlet x ppg x week: demand expected from the shoppers who come there.",
        build=transformation("outlet_ppg_shoppers"),
        features=(
            Feature(
                "shopper_rate_2w",
                "Baskets expected of this outlet's shoppers, 2-week view",
                RATE,
            ),
            Feature(
                "shopper_rate_4w",
                "Baskets expected of this outlet's shoppers, 4-week view",
                RATE,
            ),
            Feature(
                "shopper_rate_8w",
                "Baskets expected of this outlet's shoppers, 8-week view",
                RATE,
            ),
        ),
    ),
    View(
        name="outlet_trend",
        entities=("outlet_id",),
        description="One row per managed outlet x week: traffic over all products.",
        build=transformation("outlet_trend"),
        features=(
            Feature("outlet_baskets_4w", "Mean baskets of the outlet over 4 weeks", RATE),
            Feature("outlet_baskets_13w", "Mean baskets of the outlet over 13 weeks", RATE),
            Feature("outlet_category_baskets_4w", "Mean baskets with the managed categories, 4 weeks", RATE),
            Feature("outlet_category_baskets_13w", "Mean baskets with the managed categories, 13 weeks", RATE),
            Feature("outlet_shoppers_4w", "Mean distinct shoppers over 4 weeks", "shoppers/week"),
            Feature("outlet_shoppers_13w", "Mean distinct shoppers over 13 weeks", "shoppers/week"),
        ),
    ),
    View(
        name="ppg_trend",
        entities=("ppg_id",),
        description="One row per managed ppg x week: chain-level demand and price.",
        build=transformation("ppg_trend"),
        features=(
            Feature("base_price_13w", "Median regular price over 13 weeks", USD),
            Feature("ppg_transactions_1w", "Transactions per managed outlet, last week", RATE),
            Feature("ppg_transactions_4w", "Transactions per managed outlet, 4 weeks", RATE),
            Feature("ppg_transactions_13w", "Transactions per managed outlet, 13 weeks", RATE),
            Feature("ppg_trend_4w", "4-week over 13-week transactions", "ratio"),
            Feature("ppg_promoted_share_13w", "Share of outlet-weeks promoted over 13 weeks", "share"),
            Feature("price_lag_1", "Planned price of the last closed week", USD),
            Feature("depth_lag_1", "Price cut of the last closed week against the base price", "share"),
        ),
    ),
)

# What running programs still read while its successor is in VIEWS: built, registered, no part of the next model.
EARLIER_VIEWS: tuple[View, ...] = ()
EARLIER_SERVICES: tuple[EarlierService, ...] = ()
BUILT: tuple[View, ...] = (*VIEWS, *EARLIER_VIEWS)

RUNNING_AGE = timedelta(days=7)  # longer than a week nothing is week to date

RUNNING_VIEWS: tuple[View, ...] = (
    View(
        name="outlet_ppg_running",
        entities=("outlet_id", "ppg_id"),
        description="One row per managed outlet x ppg: sales of the week that is still open, as lines arrive.",
        build=transformation("outlet_ppg_running"),
        ttl=RUNNING_AGE,
        soft_age=timedelta(days=6),
        features=(
            Feature("transactions_week_to_date", "Transactions since the week opened", "baskets"),
            Feature("units_week_to_date", "Units since the week opened", "units"),
            Feature("sales_usd_week_to_date", "Received by the retailer since the week opened", "USD"),
            Feature("open_week", "Week the counts belong to; an older one than today's is not running", "week number"),
        ),
    ),
)

# Fitted every few weeks, not built from the lake: `poplift effects` writes its table.
EFFECT_VIEW = View(
    name="outlet_ppg_effects",
    entities=("outlet_id", "ppg_id", "activation"),
    description="One row per managed outlet x ppg x activation: what it adds a week, net of switching and dip.",
    build=transformation("observed_panel"),  # what it is estimated from
    ttl=timedelta(days=84),
    soft_age=timedelta(days=42),
    features=(
        *(
            Feature(f"incremental_{measure}{end}", f"{what}{of}", unit)
            for measure, what, unit in (
                ("transactions", "Transactions added", RATE),
                ("units", "Units added", "units/week"),
                ("margin_usd", "Margin added after the cut and before the activation's cost", "USD/week"),
            )
            for end, of in (("", ""), ("_low", ", lower end of 95 %"), ("_high", ", upper end of 95 %"))
        ),
        Feature("give_away_usd", "What the price cut gives away on all that is bought at it", "USD/week"),
        Feature("overlap", "Share of weeks in which the activation could have gone either way", "share"),
        Feature("is_sufficient", "Evidence is sufficient: overlap, and an interval without zero", "0/1"),
    ),
)

REQUEST_FIELDS: tuple[Feature, ...] = (
    Feature("planned_display", "Display planned for the coming week", "0/1"),
    Feature("planned_mailer", "Mailer planned for the coming week", "0/1"),
    Feature("planned_price", "Price planned for the coming week", USD),
    Feature("planned_week_start_day", "First local day of the coming week", "days since 1970-01-01"),
)

ON_DEMAND_INPUTS = INPUTS
ON_DEMAND: tuple[Feature, ...] = (
    Feature("plan_display", "Display planned", "0/1"),
    Feature("plan_mailer", "Mailer planned", "0/1"),
    Feature("plan_both", "Display and mailer planned together", "0/1"),
    Feature("plan_depth", "Planned price cut against the base price", "share"),
    Feature("plan_price_ratio", "Planned price over base price", "ratio"),
    Feature("plan_expected_rate", "Past rate under the planned promotion state", RATE),
    Feature("weeks_to_holiday", "Weeks until the next holiday; 0 = in the week, capped at 8", "weeks"),
    Feature("weeks_since_holiday", "Weeks since the last holiday; 0 = in the week, capped at 8", "weeks"),
)

BATCH_FEATURES: tuple[str, ...] = tuple(f.name for view in VIEWS for f in view.features)
MODEL_FEATURES: tuple[str, ...] = (*BATCH_FEATURES, *(f.name for f in ON_DEMAND))
