"""S10 in one market: every rule holds in every week, causes are near the truth, and SHAP is not."""

from dataclasses import replace

import pytest

from flows.studies.drivers import HELD_OUT, JUDGED, MARKET, _rule, demand_frame, play
from poplift.sources.market.environment import simulate

pytestmark = pytest.mark.science


@pytest.fixture(scope="module")
def small():
    return replace(MARKET, outlets=40, weeks=78)


@pytest.fixture(scope="module")
def driven(small):
    return play(41, small)


def test_the_demand_model_answers_as_it_must_in_every_held_out_week(driven):
    assert len(driven.answers) == 3
    assert all(one.holds for one in driven.answers), driven.answers


def test_only_the_rule_that_can_be_broken_is_judged(driven):
    judged = [figure for at in range(3) if (figure := _rule([driven], at)).is_met is not None]
    assert [figure.name.partition(",")[0] for figure in judged] == [JUDGED]
    broken = replace(driven, answers=tuple(replace(one, share=0.9) for one in driven.answers))
    assert [_rule([broken], at).is_met for at in range(3)] == [None, None, False]


def test_causes_are_nearer_to_the_true_lift_than_shap(driven):
    for row in driven.beside.itertuples():
        true = driven.truth[row.driver]
        assert abs(row.causal - true) < 0.2 * true
        assert abs(row.causal - true) < abs(row.shap - true)


def test_history_in_the_demand_frame_is_of_strictly_earlier_weeks(small):
    frame = demand_frame(simulate(small, seed=1))
    cell = frame[(frame["outlet_id"] == "o00003") & (frame["ppg_id"] == "own-01")].sort_values("week")
    assert cell["transactions_lag_1"].to_numpy()[1:].tolist() == cell["transactions"].to_numpy()[:-1].tolist()
    assert frame["week"].min() == HELD_OUT + 1
