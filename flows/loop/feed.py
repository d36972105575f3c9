"""How the platform learns what happened: through events, contracts and lake, or, for many short runs, at once."""

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from feature_repo.transformations.observed_panel import observed_panel
from feature_repo.transformations.sources import Sources
from poplift.lake import Lake
from poplift.sources.complete_journey import week_opens
from poplift.sources.ingest import IngestReport, ingest
from poplift.sources.market.environment import Market, PlayedWeek
from poplift.sources.market.events import catalogue, executions, week_tables
from poplift.sources.market.observed import panel
from poplift.sources.parquet_folder import ParquetFolder

SHOPPER_KEY = "simulated-market"
DIRT = 3  # of the seed


class Feed(Protocol):
    """What a week sends, and what is known of all weeks at an instant."""

    def send(self, played: PlayedWeek, decided: pd.DataFrame) -> None:
        """Take in a week's events and the reports on its decisions."""

    def panel(self, *, as_of: datetime) -> pd.DataFrame:
        """The observed panel as known then."""


class DirectFeed:
    """The market's own panel, without events: late and broken rows are not seen here."""

    def __init__(self, market: Market) -> None:
        self._market = market

    def send(self, played: PlayedWeek, decided: pd.DataFrame) -> None:
        """Nothing to do: the panel knows."""

    def panel(self, *, as_of: datetime) -> pd.DataFrame:  # noqa: ARG002 - everything is known at once
        """The panel of all weeks played."""
        return panel(self._market)


class LakeFeed:
    """Every week's events as Parquet, through their contracts, into a lake; broken rows are quarantined, counted."""

    def __init__(self, market: Market, folder: Path, *, soiled: float) -> None:
        self._market, self._folder, self._soiled = market, folder, soiled
        self.lake = Lake(folder / "lake")
        self.rows_in = self.rows_quarantined = 0
        self._take("catalogue", catalogue(market), as_of=week_opens(1))

    def send(self, played: PlayedWeek, decided: pd.DataFrame) -> None:
        """Emit the week's tables with their dirt and take them in, a day after it closed."""
        tables = week_tables(self._market, played, shopper_key=SHOPPER_KEY)
        tables["pos_lines"] = soil(tables["pos_lines"], share=self._soiled, seed=self._market.seed)
        if not decided.empty:
            done, refused = decided[decided["is_executed"]], decided[~decided["is_executed"]]
            opens = week_opens(played.week)
            reports = [executions(done, opens, outcome="executed"), executions(refused, opens, outcome="refused")]
            tables["executions"] = pd.concat([tables["executions"], *reports], ignore_index=True)
            tables["decisions"] = pd.concat(
                [tables["decisions"], decided.drop(columns="is_executed")], ignore_index=True
            )
        # what comes late is known later: it waits in the lake until its created_at
        self._take(f"week-{played.week}", tables, as_of=week_opens(played.week + 4))

    def panel(self, *, as_of: datetime) -> pd.DataFrame:
        """The observed panel from the lake, as known then."""
        sources = Sources(**{one.name: self.lake.read(one.name, as_of=as_of) for one in dataclasses.fields(Sources)})
        more = {name: self.lake.read(name, as_of=as_of) for name in ("decisions", "executions", "availability")}
        made: pd.DataFrame = observed_panel(sources, **more).to_pandas()
        return made.sort_values(["week", "outlet_id", "ppg_id"], ignore_index=True)

    def _take(self, name: str, tables: dict[str, pd.DataFrame], *, as_of: datetime) -> IngestReport:
        folder = self._folder / "events" / name
        folder.mkdir(parents=True, exist_ok=True)
        for table, frame in tables.items():
            if not frame.empty:
                frame.to_parquet(folder / f"{table}.parquet", index=False)
        report = ingest(ParquetFolder(folder, name=name), self.lake, as_of=as_of)
        self.rows_in += sum(table.rows_in for table in report.tables)
        self.rows_quarantined += sum(table.rows_quarantined for table in report.tables)
        return report


def soil(lines: pd.DataFrame, *, share: float, seed: int) -> pd.DataFrame:
    """Break a share of the lines in the three ways that feeds break: nothing sold, unknown outlet, unknown product."""
    week = int(lines["week"].iloc[0]) if len(lines) else 0
    random = np.random.default_rng([seed, week, DIRT])
    luck = random.uniform(size=len(lines))
    soiled = lines.copy()
    soiled.loc[luck < share / 3, "quantity"] = 0
    soiled.loc[(luck >= share / 3) & (luck < 2 * share / 3), "outlet_id"] = "o-unknown"
    soiled.loc[(luck >= 2 * share / 3) & (luck < share), "product_id"] = "p-unknown"
    return soiled
