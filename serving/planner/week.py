"""The plan of a week: from the effect table and the rules to what runs where, in plain arrays and without any I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from poplift.assumptions import Assumptions
from serving.planner.conflicts import (
    Conflict,
    InfeasiblePlanError,
    refuse_contradictions,
    refuse_unknown_names,
)
from serving.planner.effects import EffectTable
from serving.planner.eligible import Candidates, LineKey, Status, candidates_of
from serving.planner.problem import NOTHING, Floats, Ints, Plan, PlanningError, Problem
from serving.planner.rules import PlanPolicy, PlanRules
from serving.planner.solve import solve

SLOT_RULES = ("max_displays", "max_mailers", "max_activated_ppgs")


@dataclass(frozen=True)
class Resources:
    """Limits of every outlet, by name, and what each candidate uses of them, (m, r)."""

    names: tuple[str, ...]
    limits: Ints
    uses: Ints


@dataclass(frozen=True)
class WeekPlan:
    """What runs and what does not: one entry per (outlet, ppg) of the scope, in order of outlet and ppg.

    `first` (g,) is the first candidate of every entry, `chosen` (g,) the candidate that runs or NOTHING. `missing` are
    outlets that were expected and that the effect table does not have.
    """

    table: EffectTable
    rules: PlanRules
    policy: PlanPolicy
    assumptions: Assumptions
    candidates: Candidates
    resources: Resources
    first: Ints
    chosen: Ints
    solved: Plan
    missing: tuple[str, ...]

    @property
    def running(self) -> Ints:
        """The candidates that run."""
        running: Ints = self.chosen[self.chosen != NOTHING]
        return running

    @property
    def left_usd(self) -> float:
        """What the budget has left."""
        return (self.rules.budget_usd or 0.0) - self.solved.cost

    def total(self, values: Floats) -> float:
        """Sum over the candidates that run of values per row of the effect table."""
        return float(values[self.candidates.row[self.running]].sum())


def plan_week(
    table: EffectTable,
    rules: PlanRules,
    *,
    policy: PlanPolicy | None = None,
    assumptions: Assumptions | None = None,
    outlet_ids: Sequence[str] | None = None,
    held_out: Sequence[str] = (),
    expected_outlets: Sequence[str] = (),
    weeks_since: Mapping[LineKey, float] | None = None,
) -> WeekPlan:
    """The most valuable plan that keeps the rules, over the outlets named or all of the table.

    For the outlets `held_out` nothing is planned. `weeks_since` has the weeks since the last activation of (outlet,
    ppg), 1 for the last week; it is needed where a minimum gap is asked for. Raises InfeasiblePlanError, which says
    what to relax, and PlanningError.
    """
    policy, assumptions = policy or PlanPolicy(), assumptions or Assumptions()
    refuse_unknown_names(table, rules, outlet_ids)
    judged = candidates_of(
        table, rules, policy, assumptions, outlet_ids=outlet_ids, held_out=held_out, weeks_since=weeks_since
    )
    refuse_contradictions(table, rules, judged)
    resources = _resources(table, rules, judged)
    pair = table.outlet[judged.row] * len(table.ppg_ids) + table.ppg[judged.row]
    _, first, group = np.unique(pair, return_index=True, return_inverse=True)
    chosen, solved = _solved(rules, judged, resources, group=group, outlet=table.outlet[judged.row[first]])
    missing = tuple(sorted(o for o in set(expected_outlets) if table.place_of_outlet(o) is None))
    return WeekPlan(table, rules, policy, assumptions, judged, resources, first, chosen, solved, missing)


def _resources(table: EffectTable, rules: PlanRules, judged: Candidates) -> Resources:
    parts = np.array([[a.display, a.mailer, True] for a in table.activations], dtype=np.intp)
    uses = parts[table.activation[judged.row]]
    wanted = [i for i, rule in enumerate(SLOT_RULES) if getattr(rules, rule) is not None]
    columns = [uses[:, i] for i in wanted]
    for ppgs in rules.exclusive_ppgs:
        places = [table.place_of_ppg(ppg) for ppg in set(ppgs)]
        columns.append(np.isin(table.ppg[judged.row], np.array(places, dtype=np.intp)).astype(np.intp))
    names = (*(SLOT_RULES[i] for i in wanted), *(f"exclusive_ppgs.{i}" for i in range(len(rules.exclusive_ppgs))))
    limits = [getattr(rules, SLOT_RULES[i]) for i in wanted] + [1] * len(rules.exclusive_ppgs)
    stacked = np.column_stack(columns) if columns else np.zeros((len(judged.row), 0), np.intp)
    return Resources(names, np.array(limits, dtype=np.intp), stacked)


def _solved(
    rules: PlanRules, judged: Candidates, resources: Resources, *, group: Ints, outlet: Ints
) -> tuple[Ints, Plan]:
    """The candidate that runs in every group, and what the solver said of the groups that have a choice.

    `group` (m,) is the group of every candidate, `outlet` (g,) the outlet of every group.
    """
    promised = np.zeros(len(outlet), np.bool_)
    promised[group[judged.must]] = True
    offered = (judged.status == Status.ELIGIBLE) & (judged.must | ~promised[group])
    if rules.budget_usd is None:
        offered &= judged.must  # there are none: a promise without a budget was refused
    option = np.flatnonzero(offered)
    groups, place = np.unique(group[option], return_inverse=True)
    problem = Problem(
        group=place,
        outlet=outlet[groups],
        value=judged.net[option],
        cost=judged.cost[option],
        budget=rules.budget_usd or 0.0,
        uses=resources.uses[option],
        limits=resources.limits,
        required=promised[groups],
    )
    solved = solve(problem)
    chosen = np.full(len(outlet), NOTHING)
    runs = solved.chosen != NOTHING
    chosen[groups[runs]] = option[solved.chosen[runs]]
    return chosen, solved


__all__ = ["Conflict", "InfeasiblePlanError", "PlanningError", "WeekPlan", "plan_week"]
