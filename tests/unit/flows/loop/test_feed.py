"""The loop's feed: late, doubled and broken rows on the way, and a panel that says what the market's own says."""

from pathlib import Path

import pandas as pd
import pytest

from flows.loop.feed import LakeFeed, soil
from flows.loop.parameters import DIRTY_FEED
from poplift.market_week import SALES_DELAY
from poplift.sources.complete_journey import week_opens
from poplift.sources.market.environment import Market
from poplift.sources.market.events import week_tables
from poplift.sources.market.observed import panel
from poplift.sources.market.parameters import MarketParameters

SMALL = MarketParameters(outlets=12, own_ppgs=2, competing_ppgs=1, weeks=8, faults=DIRTY_FEED)
KEYS = ["week", "outlet_id", "ppg_id"]


def fed(folder: Path, *, weeks: int, soiled: float) -> tuple[Market, LakeFeed]:
    market = Market(SMALL, 2)
    feed = LakeFeed(market, folder, soiled=soiled)
    for _ in range(weeks):
        feed.send(market.step(), pd.DataFrame())
    return market, feed


def test_late_lines_are_unknown_at_first_and_known_two_weeks_later(tmp_path: Path) -> None:
    market, feed = fed(tmp_path, weeks=6, soiled=0.0)
    soon, later = (feed.panel(as_of=week_opens(week) + SALES_DELAY) for week in (7, 9))
    sold = panel(market).groupby("week")["transactions"].sum()
    assert later.groupby("week")["transactions"].sum().tolist() == sold.tolist()
    assert soon.groupby("week")["transactions"].sum().loc[:4].tolist() == sold.loc[:4].tolist()
    assert soon.groupby("week")["transactions"].sum().loc[6] < sold.loc[6]


def test_lines_that_come_twice_and_broken_ones_are_quarantined_and_counted(tmp_path: Path) -> None:
    _, feed = fed(tmp_path, weeks=4, soiled=0.06)
    quarantined = {path.name for path in (feed.lake.root / "quarantine").iterdir()}
    assert quarantined == {"pos_lines"}
    assert 0 < feed.rows_quarantined < feed.rows_in / 10


def test_a_share_of_lines_is_broken_in_three_ways_and_the_rest_stays_as_it_was() -> None:
    market = Market(SMALL, 2)
    lines = week_tables(market, market.step(), shopper_key="k")["pos_lines"]
    broken = soil(lines, share=0.3, seed=1)
    ways = [broken["quantity"] == 0, broken["outlet_id"] == "o-unknown", broken["product_id"] == "p-unknown"]
    assert all(way.mean() == pytest.approx(0.1, abs=0.06) for way in ways)
    assert sum(ways).max() == 1
    sound = sum(ways) == 0
    assert broken[sound].equals(lines[sound])
