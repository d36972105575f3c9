"""A simulated market as contract events: late, missing and doubled where a fault says so."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from poplift.activation import CANDIDATES
from poplift.market_week import SALES_DELAY
from poplift.pseudonym import pseudonym
from poplift.sources.complete_journey import CATALOGUE_KNOWN, PLAN_LEAD, week_opens
from poplift.sources.market.environment import Market, PlayedWeek
from poplift.sources.market.observed import activation_names, outlet_ids, outlets, ppg_ids
from poplift.sources.market.world import Floats

LATE = timedelta(weeks=2)
SHOPPERS = 60  # loyalty cards an outlet
CARDLESS = 0.3  # share of baskets without a card
STREAM = 2  # of the seed, so that feeds do not share draws with demand


def tables(market: Market, *, shopper_key: str) -> dict[str, pd.DataFrame]:
    """Contract table → all rows of the weeks played, in the order of the contracts."""
    weeks = [week_tables(market, played, shopper_key=shopper_key) for played in market.history]
    joined = {name: pd.concat([week[name] for week in weeks], ignore_index=True) for name in weeks[0]} if weeks else {}
    return {**catalogue(market), **joined}


def catalogue(market: Market) -> dict[str, pd.DataFrame]:
    """What is known before the first week: weeks, products (one per own ppg), outlets and their profiles."""
    known = pd.Timestamp(CATALOGUE_KNOWN)
    # plans are made for the week after the last one
    numbers = list(range(1, market.parameters.weeks + 2))
    ids = ppg_ids(market)
    products = pd.DataFrame({"product_id": [f"p-{ppg}" for ppg in ids], "manufacturer_id": "own"})
    described = {"department": "GROCERY", "brand": "National", "category": "SOFT DRINKS", "package_size": "12 OZ"}
    products = products.assign(**described, product_type=ids, ppg_id=ids)
    return {
        "weeks": pd.DataFrame(
            {
                "week": numbers,
                "starts_at": [week_opens(week) for week in numbers],
                "closes_at": [week_opens(week + 1) for week in numbers],
                "created_at": known,
            }
        ),
        "products": products.assign(effective_at=known, created_at=known),
        "outlets": pd.DataFrame({"outlet_id": outlet_ids(market), "is_managed": True}).assign(
            effective_at=known, created_at=known
        ),
        "outlet_profiles": outlets(market)[["outlet_id", "banner", "area", "income", "coolers"]].assign(
            effective_at=known, created_at=known
        ),
    }


def week_tables(market: Market, played: PlayedWeek, *, shopper_key: str) -> dict[str, pd.DataFrame]:
    """What one week adds: pos_lines, promotions, price_calendar, reports of empty shelves, and what was drawn.

    The price calendar holds the cut announced for the chain; what was drawn for single outlets is a decision and
    reported as an execution.
    """
    opens = week_opens(played.week)
    planned = {"effective_at": opens, "created_at": opens - PLAN_LEAD}
    own = market.parameters.own_ppgs
    outlet, ppg = np.nonzero(played.plan.display[:, :own] + played.plan.mailer[:, :own])
    ids, products = np.array(outlet_ids(market)), np.array([f"p-{ppg}" for ppg in ppg_ids(market)])
    place = {
        "display_location": np.where(played.plan.display[outlet, ppg] > 0, "1", "0"),
        "mailer_location": np.where(played.plan.mailer[outlet, ppg] > 0, "A", "0"),
    }
    promotions = pd.DataFrame({"product_id": products[ppg], "outlet_id": ids[outlet], "week": played.week})
    base = market.world.base_price[:own]
    return {
        "pos_lines": _lines(market, played, opens, shopper_key),
        "promotions": promotions.assign(**place, **planned),
        "price_calendar": pd.DataFrame(
            {
                "ppg_id": ppg_ids(market),
                "week": played.week,
                "regular_price": base,
                "planned_price": np.round(base * (1 - played.plan.chain_cut[:own]), 2),
                **planned,
            }
        ),
        "availability": _empty_shelves(market, played),
        **draws(market, played),
    }


def draws(market: Market, played: PlayedWeek) -> dict[str, pd.DataFrame]:
    """Decisions and executions of the cells that account managers drew at random, as executed."""
    own = market.parameters.own_ppgs
    outlet, ppg = np.nonzero((played.plan.explored & played.plan.is_usual)[:, :own])
    opens = week_opens(played.week)
    ids, ppgs = np.array(outlet_ids(market))[outlet], np.array(ppg_ids(market))[ppg]
    names = activation_names(
        *(values[outlet, ppg] for values in (played.plan.display, played.plan.mailer, played.plan.price_cut))
    )
    keys = [f"drawn-{played.week}-{o}-{p}" for o, p in zip(ids, ppgs, strict=True)]
    decided = pd.DataFrame(
        {"decision_id": np.array(keys, dtype=object), "outlet_id": ids, "ppg_id": ppgs, "activation": names}
    )
    candidates = [candidate.name for candidate in CANDIDATES]
    return {
        "decisions": decided.assign(
            week_starts_at=opens,
            candidates=json.dumps(candidates),
            propensities=json.dumps([1 / len(candidates)] * len(candidates)),
            propensity=1 / len(candidates),
            arm="explored",
            experiment=None,
            policy="account-managers",
            release_id="none",
            decided_at=opens - PLAN_LEAD,
            created_at=opens - PLAN_LEAD,
        ),
        "executions": executions(decided, opens, outcome="executed"),
    }


def executions(decided: pd.DataFrame, opens: datetime, *, outcome: str) -> pd.DataFrame:
    """Reports that decisions were executed as decided, or refused; they come in as the week closes."""
    closes = pd.Timestamp(opens + timedelta(weeks=1))
    return pd.DataFrame(
        {
            "execution_id": "e-" + decided["decision_id"],
            "decision_id": decided["decision_id"],
            "outcome": outcome,
            "activation": decided["activation"] if outcome == "executed" else "none",
            "reported_at": closes,
            "created_at": closes + SALES_DELAY,
        }
    )


def _empty_shelves(market: Market, played: PlayedWeek) -> pd.DataFrame:
    outlet, ppg = np.nonzero(~played.in_stock[:, : market.parameters.own_ppgs])
    closes = pd.Timestamp(week_opens(played.week + 1))
    return pd.DataFrame(
        {
            "outlet_id": np.array(outlet_ids(market))[outlet],
            "ppg_id": np.array(ppg_ids(market))[ppg],
            "week": played.week,
            "reported_at": closes,
            "created_at": closes + SALES_DELAY,
        }
    )


def _lines(market: Market, played: PlayedWeek, opens: datetime, shopper_key: str) -> pd.DataFrame:
    random = np.random.default_rng([market.seed, played.week, STREAM])
    own, n = market.parameters.own_ppgs, market.parameters.outlets
    sold = played.transactions[:, :own]
    outlet = np.repeat(np.repeat(np.arange(n), own), sold.ravel())
    ppg = np.repeat(np.tile(np.arange(own), n), sold.ravel())
    price, cut = market.world.base_price[ppg], played.plan.price_cut[outlet, ppg]
    quantity = _quantities(random, sold, played.units[:, :own])
    ids, products = np.array(outlet_ids(market)), np.array([f"p-{ppg_id}" for ppg_id in ppg_ids(market)])
    week = pd.Timedelta(week_opens(played.week + 1) - opens)
    lines = pd.DataFrame(
        {
            "basket_id": [f"{played.week}-{number}" for number in range(len(outlet))],
            "product_id": products[ppg],
            "outlet_id": ids[outlet],
            "shopper_id": _shoppers(random, outlet, n, shopper_key),
            "week": played.week,
            "sold_at": pd.Timestamp(opens) + (random.uniform(size=len(outlet)) * week).astype("timedelta64[us]"),
            "quantity": quantity,
            "sales_value": np.round(quantity * price * (1 - cut), 2),
            "retail_discount": np.round(quantity * price * cut, 2),
            "coupon_discount": 0.0,
            "coupon_match_discount": 0.0,
            "created_at": pd.Timestamp(week_opens(played.week + 1).astimezone(UTC) + SALES_DELAY),
        }
    )
    return _with_faults(market, played.week, lines, outlet, random)


def _quantities(random: np.random.Generator, sold: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Every line holds one unit; what the cell sold beyond that falls on its lines at random."""
    counts, extra = sold.ravel(), (units - sold).ravel()
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    cell = np.repeat(np.arange(len(counts)), extra)
    line = starts[cell] + (random.uniform(size=len(cell)) * counts[cell]).astype("int64")
    return 1 + np.bincount(line, minlength=int(counts.sum())).astype("int64")


def _shoppers(random: np.random.Generator, outlet: np.ndarray, outlets: int, key: str) -> np.ndarray:
    cards = np.array([[pseudonym(f"{o}-{c}", key=key) for c in range(SHOPPERS)] for o in range(outlets)], dtype=object)
    drawn: np.ndarray = cards[outlet, random.integers(SHOPPERS, size=len(outlet))]
    drawn[random.uniform(size=len(outlet)) < CARDLESS] = None
    return drawn


def _with_faults(
    market: Market, week: int, lines: pd.DataFrame, outlet: np.ndarray, random: np.random.Generator
) -> pd.DataFrame:
    luck: Floats = random.uniform(size=len(lines))
    silent: Floats = random.uniform(size=market.parameters.outlets)
    late = market.parameters.fault("late_feed", week)
    if late is not None:
        lines.loc[luck < late, "created_at"] += LATE
    missing = market.parameters.fault("missing_feed", week)
    if missing is not None:
        lines, luck = lines[silent[outlet] >= missing], luck[silent[outlet] >= missing]
    doubled = market.parameters.fault("duplicated_feed", week)
    if doubled is not None:
        lines = pd.concat([lines, lines[luck > 1 - doubled]])
    return lines.reset_index(drop=True)
