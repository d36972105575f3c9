"""Step: play a simulated market and keep what a platform would see of it, and apart from it the truth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from flows.steps.progress import Progress, silent
from poplift.activation import CANDIDATES
from poplift.settings import Settings
from poplift.sources.market import observed
from poplift.sources.market.environment import Market
from poplift.sources.market.events import tables as event_tables
from poplift.sources.market.parameters import MarketParameters
from poplift.sources.market.truth import truth_of


@dataclass(frozen=True)
class Simulated:
    """Where the tables of a market are, and the figures people compare with their own market."""

    folder: Path
    rows: int
    shares: dict[str, float]


def simulate_market(
    settings: Settings, progress: Progress = silent, *, seed: int, weeks: int, outlets: int, events: bool
) -> Simulated:
    """Play the weeks and write panel, outlets, ppgs, calendar and, in a folder of its own, the truth."""
    market = Market(MarketParameters(outlets=outlets, weeks=weeks), seed)
    for _ in range(weeks):
        market.step()
        if market.week % 13 == 1:
            progress(f"week {market.week - 1} of {weeks}")
    folder = settings.home / "market" / f"seed-{seed}-{outlets}-outlets-{weeks}-weeks"
    panel = observed.panel(market)
    for name, frame in (
        ("panel", panel),
        ("outlets", observed.outlets(market)),
        ("ppgs", observed.ppgs(market)),
        ("calendar", observed.calendar(market)),
        ("truth/truth", _truth_rows(market, panel)),
    ):
        _write(frame, folder / f"{name}.parquet")
    if events:
        for table, frame in event_tables(market, shopper_key=settings.shopper_key.get_secret_value()).items():
            progress(table)
            _write(frame, folder / "events" / f"{table}.parquet")
    return Simulated(folder, len(panel), _shares(panel))


def _truth_rows(market: Market, panel: pd.DataFrame) -> pd.DataFrame:
    truth = truth_of(market)
    open_cells = np.stack([market.is_open(played.week) for played in market.history])
    at = np.repeat(open_cells.ravel(), market.parameters.own_ppgs)
    columns: dict[str, np.ndarray] = {"latent_transactions": truth.latent.transpose(2, 0, 1).reshape(-1)[at]}
    for number, candidate in enumerate(CANDIDATES):
        for name, values in (("mean", truth.mean), ("net_gain", truth.net_gain)):
            columns[f"{name}_{candidate.name}"] = values[..., number].transpose(2, 0, 1).reshape(-1)[at]
    return pd.concat([panel[["outlet_id", "ppg_id", "week"]], pd.DataFrame(columns)], axis=1)


def _shares(panel: pd.DataFrame) -> dict[str, float]:
    return {
        "transactions per cell": float(panel["transactions"].mean()),
        "zero cells": float((panel["transactions"] == 0).mean()),
        "on display": float(panel["display"].mean()),
        "in the mailer": float(panel["mailer"].mean()),
        "with a price cut": float((panel["price_cut"] > 0).mean()),
        "mean depth of a cut": float(panel["price_cut"][panel["price_cut"] > 0].mean()),
        "drawn at random": float(panel["explored"].mean()),
        "reported out of stock": float(1 - panel["in_stock"].mean()),
    }


def _write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    frame.to_parquet(partial, index=False, coerce_timestamps="us", allow_truncated_timestamps=True)
    partial.replace(path)
