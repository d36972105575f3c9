"""The events of a market say what its panel says, and pass their contracts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from poplift.lake import Lake
from poplift.sources.complete_journey import week_opens
from poplift.sources.ingest import ingest
from poplift.sources.market.environment import AS_USUAL, Market, simulate
from poplift.sources.market.events import draws, tables
from poplift.sources.market.observed import panel
from poplift.sources.market.parameters import Fault, MarketParameters
from poplift.sources.parquet_folder import ParquetFolder

SMALL = {"outlets": 12, "own_ppgs": 2, "competing_ppgs": 1, "weeks": 6}


def lines(*faults: Fault) -> pd.DataFrame:
    return tables(simulate(MarketParameters(**SMALL, faults=faults), seed=2), shopper_key="k")["pos_lines"]


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(MarketParameters(**SMALL), seed=2)


def test_lines_add_up_to_the_panel(market: Market) -> None:
    sent = tables(market, shopper_key="k")["pos_lines"].assign(ppg_id=lambda f: f["product_id"].str.removeprefix("p-"))
    cells = sent.groupby(["week", "outlet_id", "ppg_id"])["quantity"].agg(["size", "sum"])
    rows = panel(market).set_index(["week", "outlet_id", "ppg_id"])
    assert cells["size"].equals(rows["transactions"][rows["transactions"] > 0].rename("size"))
    assert cells["sum"].equals(rows["units"][rows["units"] > 0].rename("sum"))


def test_all_events_pass_their_contracts_and_land_in_the_lake(market: Market, tmp_path: Path) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    for table, frame in tables(market, shopper_key="k").items():
        frame.to_parquet(folder / f"{table}.parquet", index=False)
    lake = Lake(tmp_path / "lake")
    report = ingest(ParquetFolder(folder, name="market"), lake, as_of=week_opens(9))
    assert {t.table: t.rows_quarantined for t in report.tables} == dict.fromkeys(
        (
            "weeks",
            "products",
            "outlets",
            "pos_lines",
            "promotions",
            "price_calendar",
            "outlet_profiles",
            "availability",
            "decisions",
            "executions",
        ),
        0,
    )
    assert not ingest(ParquetFolder(folder, name="market"), lake, as_of=week_opens(9)).is_new


def test_late_lines_become_known_two_weeks_late_from_the_onset_on() -> None:
    sent = lines(Fault("late_feed", 4, 0.3))
    late = sent["created_at"] > [pd.Timestamp(week_opens(week + 2)) for week in sent["week"]]
    assert not late[sent["week"] < 4].any()
    assert late[sent["week"] >= 4].mean() == pytest.approx(0.3, abs=0.07)


def test_doubled_lines_are_the_same_lines_again() -> None:
    sent = lines(Fault("duplicated_feed", 4, 0.2))
    again = sent.duplicated()
    assert again.sum() == sent["basket_id"].duplicated().sum() > 0
    assert not again[sent["week"] < 4].any()


def test_missing_outlet_weeks_are_whole_ones() -> None:
    sound, holed = lines(), lines(Fault("missing_feed", 4, 0.4))
    gone = set(zip(sound["week"], sound["outlet_id"], strict=True)) - set(
        zip(holed["week"], holed["outlet_id"], strict=True)
    )
    assert gone
    assert min(week for week, _ in gone) >= 4
    assert len(holed) == len(sound[[cell not in gone for cell in zip(sound["week"], sound["outlet_id"], strict=True)]])


def test_draws_of_the_platform_are_not_told_as_draws_of_account_managers() -> None:
    market = Market(MarketParameters(**SMALL, exploration=0.5), 2)
    plan = np.full((12, 2), AS_USUAL)
    plan[:6] = 1
    market.act(plan, propensity=np.full((12, 2), 0.125))
    told = draws(market, market.step())["decisions"]
    assert not told.empty
    assert set(told["outlet_id"]) <= {f"o{number:05d}" for number in range(6, 12)}
