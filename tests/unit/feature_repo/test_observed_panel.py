"""The panel of effects, built from a market's events, says what the market's own panel says."""

import dataclasses

import ibis
import pandas as pd
import pytest

from feature_repo.transformations.observed_panel import observed_panel
from feature_repo.transformations.sources import Sources
from poplift.lake import Lake
from poplift.sources.complete_journey import week_opens
from poplift.sources.ingest import ingest
from poplift.sources.market.environment import simulate
from poplift.sources.market.events import tables
from poplift.sources.market.observed import panel
from poplift.sources.market.parameters import MarketParameters
from poplift.sources.parquet_folder import ParquetFolder

KEYS = ["week", "outlet_id", "ppg_id"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, pd.DataFrame]:
    market = simulate(MarketParameters(outlets=12, own_ppgs=3, competing_ppgs=1, weeks=8, exploration=0.3), seed=4)
    folder = tmp_path_factory.mktemp("market")
    (folder / "events").mkdir()
    for table, frame in tables(market, shopper_key="k").items():
        frame.to_parquet(folder / "events" / f"{table}.parquet", index=False)
    made = Lake(folder / "lake")
    ingest(ParquetFolder(folder / "events"), made, as_of=week_opens(10))
    return made, panel(market)


def read(lake: Lake, name: str):
    return lake.read(name, as_of=week_opens(10))


def built(lake: Lake, *, without: tuple[str, ...] = ()) -> pd.DataFrame:
    sources = Sources(**{field.name: read(lake, field.name) for field in dataclasses.fields(Sources)})
    extra = {n: read(lake, n) for n in ("decisions", "executions", "availability") if n not in without}
    return observed_panel(sources, **extra).to_pandas().sort_values(KEYS, ignore_index=True)


def test_every_cell_is_there_with_its_sales_price_activation_draw_and_shelf(lake: tuple[Lake, pd.DataFrame]) -> None:
    made, seen = built(lake[0]), lake[1]
    assert len(made) == len(seen)
    for name in (*KEYS, "transactions", "units", "in_stock", "explored", "display", "mailer"):
        assert (made[name] == seen[name]).all(), name
    for name in ("base_price", "price_cut", "propensity"):
        pd.testing.assert_series_equal(made[name], seen[name], check_dtype=False, rtol=0, atol=0.005)


def test_without_reports_the_plan_of_the_chain_counts_and_nothing_is_drawn(lake: tuple[Lake, pd.DataFrame]) -> None:
    made, seen = built(lake[0], without=("decisions",)), lake[1]
    assert not made["explored"].any()
    assert made["propensity"].isna().all()
    chain = seen[~seen["explored"]].groupby(["week", "ppg_id"])["price_cut"].median()
    expected = made.set_index(["week", "ppg_id"]).index.map(chain)
    assert made["price_cut"].to_numpy() == pytest.approx(expected.to_numpy(), abs=0.005)


def test_a_refused_decision_ran_nothing_and_is_no_draw(lake: tuple[Lake, pd.DataFrame]) -> None:
    made = lake[0]
    sources = Sources(**{field.name: read(made, field.name) for field in dataclasses.fields(Sources)})
    refused = read(made, "executions").mutate(outcome=ibis.literal("refused"))
    rows = observed_panel(sources, decisions=read(made, "decisions"), executions=refused).to_pandas()
    drawn = lake[1].set_index(KEYS)["explored"]
    was_drawn = rows.set_index(KEYS).index.map(drawn)
    assert not rows["explored"].any()
    assert (rows.loc[was_drawn, ["display", "mailer", "price_cut"]] == 0).all().all()
    assert rows.loc[was_drawn, "propensity"].isna().all()
