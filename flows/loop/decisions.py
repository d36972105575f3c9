"""The platform's side of a week: a plan under the budget, some draws, and what outlets carried out of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flows.loop.parameters import LoopParameters
from poplift.activation import CANDIDATES
from poplift.assignment import EXPLORED, explore, propensities
from poplift.assumptions import Assumptions
from poplift.sources.market.environment import AS_USUAL
from serving.planner.effects import from_frame
from serving.planner.rules import PlanRules
from serving.planner.week import plan_week

NAMES = tuple(candidate.name for candidate in CANDIDATES)
POLICY = "planner"


@dataclass(frozen=True)
class Decided:
    """One week: (outlets, own ppgs) indices of what was decided and run, AS_USUAL where account managers decide."""

    planned: NDArray[np.intp]
    decided: NDArray[np.intp]
    executed: NDArray[np.intp]
    drawn: NDArray[np.bool_]  # decided by a draw, whatever came out

    @property
    def propensity(self) -> NDArray[np.float64]:
        """Probability of a draw that was also carried out, NaN elsewhere."""
        return np.where(self.drawn & (self.executed == self.decided), 1 / len(CANDIDATES), np.nan)


@dataclass(frozen=True)
class Outlets:
    """The market's outlets and own ppgs by name, and which outlets the platform decides for."""

    outlet_ids: Sequence[str]
    ppg_ids: Sequence[str]
    is_platform: NDArray[np.bool_]


def plan_indices(
    effects: pd.DataFrame, outlets: Outlets, *, budget_usd: float, assumptions: Assumptions
) -> NDArray[np.intp]:
    """The planner's choice as an array; AS_USUAL in outlets that the platform does not decide for."""
    table = from_frame(effects)
    platform = [o for o, ours in zip(outlets.outlet_ids, outlets.is_platform, strict=True) if ours]
    week = plan_week(table, PlanRules(budget_usd=budget_usd), assumptions=assumptions, outlet_ids=platform)
    chosen = np.full((len(outlets.outlet_ids), len(outlets.ppg_ids)), AS_USUAL)
    chosen[outlets.is_platform] = 0
    rows = week.candidates.row[week.running]
    outlet = [outlets.outlet_ids.index(table.outlet_ids[o]) for o in table.outlet[rows]]
    ppg = [outlets.ppg_ids.index(table.ppg_ids[p]) for p in table.ppg[rows]]
    chosen[outlet, ppg] = [NAMES.index(table.activations[a].name) for a in table.activation[rows]]
    return chosen


def decide(planned: NDArray[np.intp], outlets: Outlets, *, week: int, parameters: LoopParameters, seed: int) -> Decided:
    """Draw a share of the cells at random, and let outlets leave some decisions undone."""
    decided = planned.copy()
    drawn = np.zeros(planned.shape, dtype=bool)
    for outlet, ppg in np.argwhere(planned != AS_USUAL):
        names = (str(seed), outlets.outlet_ids[outlet], outlets.ppg_ids[ppg], str(week))
        draw = explore(int(planned[outlet, ppg]), candidates=len(NAMES), names=names, share=parameters.exploration)
        decided[outlet, ppg], drawn[outlet, ppg] = draw.chosen, draw.arm == EXPLORED
    luck = np.random.default_rng([seed, week, 4]).uniform(size=planned.shape)
    undone = (luck >= parameters.execution) & (decided != AS_USUAL) & (decided != 0)
    return Decided(planned, decided, np.where(undone, 0, decided), drawn)


def decision_rows(
    made: Decided, outlets: Outlets, *, week: int, opens: datetime, at: datetime, release: str, exploration: float
) -> pd.DataFrame:
    """Contract rows of the week's decisions, with `is_executed` beside them."""
    outlet, ppg = np.nonzero(made.decided != AS_USUAL)
    decided, planned = made.decided[outlet, ppg], made.planned[outlet, ppg]
    logged = [propensities(one, candidates=len(NAMES), share=exploration) for one in range(len(NAMES))]
    outlet_id, ppg_id = np.array(outlets.outlet_ids)[outlet], np.array(outlets.ppg_ids)[ppg]
    return pd.DataFrame(
        {
            "decision_id": [f"{week}-{o}-{p}" for o, p in zip(outlet_id, ppg_id, strict=True)],
            "outlet_id": outlet_id,
            "ppg_id": ppg_id,
            "week_starts_at": opens,
            "activation": np.array(NAMES, dtype=object)[decided],
            "candidates": json.dumps(NAMES),
            "propensities": [json.dumps(logged[one]) for one in planned],
            "propensity": [logged[one][k] for one, k in zip(planned, decided, strict=True)],
            "arm": np.where(made.drawn[outlet, ppg], "explored", "policy"),
            "experiment": None,
            "policy": POLICY,
            "release_id": release,
            "decided_at": at,
            "created_at": at,
            "is_executed": made.executed[outlet, ppg] == decided,
        }
    )
