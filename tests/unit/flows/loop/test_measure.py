"""What the loop measures: net margin under the declared assumptions, against a twin on the same luck."""

import numpy as np
import pandas as pd
import pytest

from flows.loop.measure import Arms, cumulative, measure, outlet_weeks
from poplift.assumptions import Assumptions

ASSUMPTIONS = Assumptions(display_cost_usd=1.0, mailer_cost_usd=0.5, unit_margin=0.5)


def test_net_margin_takes_off_the_cut_and_the_cost_of_the_activation() -> None:
    cell = {"outlet_id": "a", "ppg_id": "p", "week": 1, "transactions": 4, "units": 10, "base_price": 2.0}
    panel = pd.DataFrame([cell | {"price_cut": 0.2, "display": 1, "mailer": 1}])
    (row,) = outlet_weeks(panel, ASSUMPTIONS).to_dict("records")
    assert row["net_margin_usd"] == pytest.approx(10 * 2.0 * (0.5 - 0.2) - 1.5)
    assert row["trade_spend_usd"] == pytest.approx(1.5 + 10 * 2.0 * 0.2)


@pytest.fixture
def arms() -> Arms:
    random = np.random.default_rng(3)
    level = random.normal(50, 10, 60)
    weeks = np.arange(1, 41)
    rows = pd.DataFrame({"outlet_id": np.repeat([f"o{i:02d}" for i in range(60)], 40), "week": np.tile(weeks, 60)})
    noise = random.normal(0, 3, len(rows))
    usual = rows.assign(net_margin_usd=np.repeat(level, 40) + noise, transactions=20.0 + noise, trade_spend_usd=1.0)
    is_platform = {f"o{i:02d}": i % 3 > 0 for i in range(60)}
    earned = rows["outlet_id"].map(is_platform) & (rows["week"] > 20)
    seen = usual.assign(net_margin_usd=usual["net_margin_usd"] + 4.0 * earned)
    return Arms(seen, usual, is_platform, first_week=21)


def test_the_experiment_finds_what_was_planted_and_the_truth_is_exact(arms: Arms) -> None:
    margin = next(one for one in measure(arms) if one.metric == "net_margin_usd")
    assert margin.truth == pytest.approx(4.0)
    assert margin.experiment.low < 4.0 < margin.experiment.high
    assert margin.experiment.above(0.0)
    assert margin.holds_truth


def test_nothing_planted_is_not_found_in_transactions(arms: Arms) -> None:
    sold = next(one for one in measure(arms) if one.metric == "transactions")
    assert sold.truth == 0
    assert sold.experiment.low < 0 < sold.experiment.high


def test_what_was_earned_adds_up_week_by_week(arms: Arms) -> None:
    earned = cumulative(arms)
    assert earned["week"].tolist() == list(range(21, 41))
    assert earned["truth"].to_numpy() == pytest.approx(4.0 * np.arange(1, 21))
    assert (earned["low"] < earned["measured"]).all()
