"""What the platform may see of a simulated market: the panel of own ppgs and the tables around it."""

import numpy as np
import pandas as pd

from poplift.activation import Activation
from poplift.sources.market.environment import Market, PlayedWeek
from poplift.sources.market.world import AREAS, BANNERS, Floats, season_of


def outlet_ids(market: Market) -> list[str]:
    """Ids of all outlets, sorted."""
    return [f"o{number:05d}" for number in range(market.parameters.outlets)]


def ppg_ids(market: Market) -> list[str]:
    """Ids of the own ppgs, sorted."""
    return [f"own-{number:02d}" for number in range(market.parameters.own_ppgs)]


def outlets(market: Market) -> pd.DataFrame:
    """Grain: one outlet. Columns: outlet_id, banner, zone, area, size (log), income (standardised), coolers."""
    world = market.world
    banner = np.array(BANNERS)[world.banner]
    return pd.DataFrame(
        {
            "outlet_id": outlet_ids(market),
            "banner": banner,
            "zone": banner,
            "area": np.array(AREAS)[world.area],
            "size": world.size,
            "income": world.income,
            "coolers": world.coolers,
        }
    )


def ppgs(market: Market) -> pd.DataFrame:
    """Grain: one own ppg. Columns: ppg_id, base_price (USD per unit)."""
    return pd.DataFrame(
        {"ppg_id": ppg_ids(market), "base_price": market.world.base_price[: market.parameters.own_ppgs]}
    )


def calendar(market: Market) -> pd.DataFrame:
    """Grain: one week of the market, to come ones too. Columns: week, season_sin, season_cos, holiday (0/1)."""
    weeks = range(1, market.parameters.weeks + 1)
    rows = [season_of(market.parameters, week) for week in weeks]
    return pd.DataFrame(
        [(week, sine, cosine, int(holiday)) for week, (sine, cosine, holiday) in zip(weeks, rows, strict=True)],
        columns=["week", "season_sin", "season_cos", "holiday"],
    )


def panel(market: Market) -> pd.DataFrame:
    """Grain: outlet x own ppg x week played, sorted by week, outlet and ppg; closed outlets have no rows.

    transactions and units are what was sold; in_stock is a flag with errors; activation is what was executed;
    propensity is NaN where nobody drew; competitor_depth is the mean price cut of the competing ppgs there.
    """
    frames = [_rows(market, played) for played in market.history]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def activation_names(display: Floats, mailer: Floats, cut: Floats) -> np.ndarray:
    """Short names of activations given by their parts, all of one length."""
    codes = (display + 2 * mailer + 4 * np.round(100 * cut)).astype("int64")
    kinds, which = np.unique(codes, return_inverse=True)
    names = [
        Activation(display=bool(kind & 1), mailer=bool(kind & 2), price_cut=int(kind >> 2) / 100).name for kind in kinds
    ]
    return np.array(names, dtype=object)[which]


def _rows(market: Market, played: PlayedWeek) -> pd.DataFrame:
    own, plan = market.parameters.own_ppgs, played.plan
    n = market.parameters.outlets
    price = market.world.base_price[:own]
    cut = plan.price_cut[:, :own]
    rows = pd.DataFrame(
        {
            "outlet_id": np.repeat(outlet_ids(market), own),
            "ppg_id": np.tile(ppg_ids(market), n),
            "week": played.week,
            "transactions": played.transactions[:, :own].ravel(),
            "units": _reported_units(market, played).ravel(),
            "base_price": np.tile(price, n),
            "price": (price * (1 - cut)).ravel(),
            "display": plan.display[:, :own].ravel().astype("int64"),
            "mailer": plan.mailer[:, :own].ravel().astype("int64"),
            "price_cut": cut.ravel(),
            "activation": activation_names(plan.display[:, :own].ravel(), plan.mailer[:, :own].ravel(), cut.ravel()),
            "coupon": played.coupon[:, :own].ravel().astype("int64"),
            "in_stock": played.in_stock[:, :own].ravel(),
            "explored": plan.explored[:, :own].ravel(),
            "propensity": plan.propensity[:, :own].ravel(),
            "competitor_depth": np.repeat(plan.price_cut[:, own:].mean(axis=1), own),
        }
    )
    return rows[np.repeat(market.is_open(played.week), own)]


def _reported_units(market: Market, played: PlayedWeek) -> np.ndarray:
    units = played.units[:, : market.parameters.own_ppgs]
    case = market.parameters.fault("cases_for_units", played.week)
    if case is None:
        return units
    reports_cases = (market.world.banner == 0)[:, None]
    return np.where(reports_cases, np.ceil(units / case), units).astype("int64")
