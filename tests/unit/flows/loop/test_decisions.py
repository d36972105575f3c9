"""The platform's side of a simulated week: it decides only for its outlets, logs what it drew, and some of it stays undone."""

import json

import numpy as np
import pandas as pd
import pytest

from flows.loop.decisions import NAMES, Outlets, decide, decision_rows, plan_indices
from flows.loop.parameters import LoopParameters
from poplift.activation import CANDIDATES
from poplift.assumptions import Assumptions
from poplift.contracts.decisions import DECISIONS
from poplift.sources.complete_journey import week_opens
from poplift.sources.market.environment import AS_USUAL

MANY = Outlets([f"o{i:03d}" for i in range(200)], ["a", "b", "c"], np.arange(200) % 4 != 0)
PARAMETERS = LoopParameters(exploration=0.2, execution=0.8)


@pytest.fixture
def planned() -> np.ndarray:
    plan = np.full((200, 3), AS_USUAL)
    plan[MANY.is_platform] = 3
    return plan


def effects(margin: float, *, evidence: str = "sufficient") -> pd.DataFrame:
    rows = [
        {"outlet_id": o, "ppg_id": p, "activation": c.name, "overlap": 1.0, "evidence": evidence}
        | {
            f"incremental_{m}{end}": 0.0 if c.name == "none" else margin + shift
            for m in ("transactions", "units", "margin_usd")
            for end, shift in (("", 0.0), ("_low", -0.1), ("_high", 0.1))
        }
        for o in MANY.outlet_ids[:8]
        for p in MANY.ppg_ids
        for c in CANDIDATES
    ]
    frame = pd.DataFrame(rows)
    frame["give_away_usd"] = 0.0
    return frame


def small() -> Outlets:
    return Outlets(MANY.outlet_ids[:8], MANY.ppg_ids, MANY.is_platform[:8])


def test_outlets_of_account_managers_are_left_alone(planned: np.ndarray) -> None:
    made = decide(planned, MANY, week=5, parameters=PARAMETERS, seed=1)
    for plan in (made.decided, made.executed):
        assert (plan[~MANY.is_platform] == AS_USUAL).all()
        assert (plan[MANY.is_platform] != AS_USUAL).all()


def test_the_shares_drawn_and_undone_are_those_asked_for(planned: np.ndarray) -> None:
    made = decide(planned, MANY, week=5, parameters=PARAMETERS, seed=1)
    ours = np.broadcast_to(MANY.is_platform[:, None], planned.shape)
    assert made.drawn[ours].mean() == pytest.approx(0.2, abs=0.05)
    active = ours & (made.decided > 0)
    assert (made.executed == made.decided)[active].mean() == pytest.approx(0.8, abs=0.05)
    assert set(np.unique(made.decided[made.drawn])) == set(range(len(CANDIDATES)))


def test_a_draw_that_was_not_carried_out_is_no_evidence_of_a_draw(planned: np.ndarray) -> None:
    made = decide(planned, MANY, week=5, parameters=PARAMETERS, seed=1)
    undone = made.drawn & (made.executed != made.decided)
    assert undone.any()
    assert np.isnan(made.propensity[undone]).all()
    assert (made.propensity[made.drawn & ~undone] == 1 / len(CANDIDATES)).all()


def test_deciding_a_week_again_decides_the_same(planned: np.ndarray) -> None:
    first, again = (decide(planned, MANY, week=5, parameters=PARAMETERS, seed=1) for _ in range(2))
    other = decide(planned, MANY, week=6, parameters=PARAMETERS, seed=1)
    assert np.array_equal(first.executed, again.executed)
    assert not np.array_equal(first.executed, other.executed)


def test_logged_rows_are_contract_rows_whose_propensities_add_up_to_one(planned: np.ndarray) -> None:
    made = decide(planned, MANY, week=5, parameters=PARAMETERS, seed=1)
    rows = decision_rows(
        made, MANY, week=5, opens=week_opens(5), at=week_opens(5), release="loop", exploration=PARAMETERS.exploration
    )
    assert set(rows.columns) == {*DECISIONS.column_names, "is_executed"}
    assert len(rows) == MANY.is_platform.sum() * 3
    for row in rows.sample(20, random_state=1).itertuples():
        logged = json.loads(row.propensities)
        assert sum(logged) == pytest.approx(1)
        assert row.propensity == logged[NAMES.index(row.activation)]


def test_nothing_runs_where_evidence_is_thin_or_nothing_is_gained() -> None:
    for frame in (effects(5.0, evidence="thin"), effects(-1.0)):
        plan = plan_indices(frame, small(), budget_usd=1e6, assumptions=Assumptions())
        assert set(plan[small().is_platform].ravel()) == {0}


def test_a_plan_keeps_its_budget() -> None:
    assumptions = Assumptions()
    plan = plan_indices(effects(5.0), small(), budget_usd=4.0, assumptions=assumptions)
    run = [CANDIDATES[k] for k in plan[plan > 0]]
    assert run
    spent = sum(assumptions.display_cost_usd * a.display + assumptions.mailer_cost_usd * a.mailer for a in run)
    assert spent <= 4.0
