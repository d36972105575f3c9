"""What a lake tells of an experiment: only its own outlets' reports of its own weeks say what was run."""

from types import SimpleNamespace

import pandas as pd
import pytest

from monitoring.experiments.lake_evidence import evidence
from poplift.assignment import TREATMENT
from poplift.assumptions import Assumptions
from poplift.contracts.tables import contract
from poplift.lake import Lake
from poplift.market_week import SALES_DELAY
from poplift.sources.market.environment import Market
from poplift.sources.market.events import tables
from poplift.sources.market.parameters import MarketParameters
from tests.unit.monitoring.experiments.planted_sales import record_of

WEEKS, FIRST, RUN = 10, 7, 3  # weeks of sales, first week of the experiment, its weeks
PARAMETERS = MarketParameters(outlets=40, own_ppgs=2, competing_ppgs=1, weeks=WEEKS)


@pytest.fixture(scope="module")
def played():
    """Tables of a market whose account managers draw some cells of every week at random and report all of those."""
    market = Market(PARAMETERS, 5)
    for _ in range(WEEKS):
        market.step()
    found = tables(market, shopper_key="k")
    found["decisions"] = found["decisions"].astype({"experiment": "string"})  # none of them is of an experiment
    closed = found["weeks"].loc[found["weeks"]["week"] == WEEKS, "closes_at"].item()
    outlets = found["outlets"].loc[found["outlets"]["is_managed"], ["outlet_id"]]
    record = record_of(outlets.iloc[::2], ppg_ids=("own-00",), first_week=FIRST, weeks=RUN)
    decided = found["decisions"].merge(found["weeks"], left_on="week_starts_at", right_on="starts_at")
    is_its = decided["outlet_id"].isin(list(record.arms)) & decided["ppg_id"].isin(record.ppg_ids)
    its = decided[is_its & decided["week"].between(FIRST, FIRST + RUN - 1)]
    is_its = found["executions"]["decision_id"].isin(its["decision_id"])
    return SimpleNamespace(
        tables=found, record=record, as_of=closed + SALES_DELAY, its=its, is_its=is_its, reports=found["executions"]
    )


@pytest.fixture
def look(played, tmp_path):
    """Evidence of the experiment from a lake with these reports."""

    def read(*reports, assumptions=None):
        lake = Lake(tmp_path / "lake")
        landed = {**played.tables, "executions": pd.concat(reports)}
        for table, frame in ((t, f) for t, f in landed.items() if len(f)):
            lake.connection.register("incoming", frame)
            lake.append(table, f"SELECT {', '.join(contract(table).column_names)} FROM incoming")
        return evidence(lake, played.record, as_of=played.as_of, assumptions=assumptions or Assumptions())

    return read


def test_reports_of_other_outlets_ppgs_and_weeks_are_none_of_this_one_and_its_planned_cost_is_charged(played, look):
    others = played.reports[~played.is_its]
    assert 0 < len(others) < len(played.reports)
    found = look(others)
    free = look(others, assumptions=Assumptions(display_cost_usd=0))
    assert found.reported is None
    cells = found.outcomes[found.outcomes["margin_usd"] < free.outcomes["margin_usd"]]
    treated = sorted(outlet for outlet, arm in played.record.arms.items() if arm == TREATMENT)
    weeks = range(FIRST, FIRST + RUN)
    assert sorted(zip(cells["outlet_id"], cells["week"], strict=True)) == [(o, w) for o in treated for w in weeks]


def test_what_its_outlets_ran_is_told_as_they_reported_it(played, look):
    found = look(played.reports)
    ran = found.reported.merge(played.its, on=["outlet_id", "week", "activation"])
    assert len(found.reported) == len(ran) == len(played.its) > 0


@pytest.mark.parametrize(("outcome", "is_known"), [("refused", True), ("shown", False)])
def test_that_one_refused_tells_that_it_was_not_run_and_that_one_was_shown_it_tells_nothing(
    played, look, outcome, is_known
):
    one = played.reports[played.is_its].head(1).assign(outcome=outcome, activation=None)
    found = look(played.reports[~played.is_its], one)
    assert (found.reported is not None) == is_known
    assert found.reported is None or found.reported.empty
