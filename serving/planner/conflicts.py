"""Requests that cannot be met: which rules contradict each other or the table, and which to relax by how much."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from serving.exploration import HELD_OUT
from serving.planner.effects import EffectTable
from serving.planner.eligible import Candidates, Status, rows_of_line
from serving.planner.problem import MONEY_TOLERANCE
from serving.planner.rules import MustRun, NeverRun, PlanRules

NO_BUDGET = "no budget was given, so nothing is spent"


@dataclass(frozen=True)
class Conflict:
    """One reason why there is no plan: the rule, what is wrong, and what to relax."""

    where: str
    what: str
    relax: str


class InfeasiblePlanError(Exception):
    """The rules cannot be kept together; `conflicts` has every reason found, with what to relax."""

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        self.conflicts = tuple(conflicts)
        super().__init__("; ".join(f"{c.where}: {c.what}: {c.relax}" for c in self.conflicts[:5]))


def refuse_unknown_names(table: EffectTable, rules: PlanRules, outlet_ids: Sequence[str] | None) -> None:
    """Raise InfeasiblePlanError where a rule or the scope names an outlet or ppg the effect table does not have."""
    found = [
        Conflict(where, f"{kind} {name!r} is not in the effect table", "leave it out, or estimate its effects first")
        for where, kind, name in _names(rules, outlet_ids)
        if (table.place_of_outlet(name) if kind == "outlet" else table.place_of_ppg(name)) is None
    ]
    if found:
        raise InfeasiblePlanError(found)


def _names(rules: PlanRules, outlet_ids: Sequence[str] | None) -> Iterator[tuple[str, str, str]]:
    yield from ((f"outlet_ids.{i}", "outlet", name) for i, name in enumerate(outlet_ids or ()))
    named: dict[str, Sequence[MustRun | NeverRun]] = {"must_run": rules.must_run, "never_run": rules.never_run}
    for kind, lines in named.items():
        for i, line in enumerate(lines):
            if line.outlet_id is not None:
                yield f"rules.{kind}.{i}", "outlet", line.outlet_id
            if line.ppg_id is not None:
                yield f"rules.{kind}.{i}", "ppg", line.ppg_id
    for i, ppgs in enumerate(rules.exclusive_ppgs):
        yield from ((f"rules.exclusive_ppgs.{i}", "ppg", name) for name in ppgs)


def refuse_contradictions(table: EffectTable, rules: PlanRules, judged: Candidates) -> None:
    """Raise InfeasiblePlanError where the promised lines cannot all run; every contradiction is told."""
    found: list[Conflict] = []
    at: dict[int, MustRun] = {}
    for i, line in enumerate(rules.must_run):
        where = f"rules.must_run.{i}"
        rows = rows_of_line(table, judged.row, line)
        if len(rows):
            at[int(rows[0])] = line
            found += _against(where, line, judged, int(rows[0]), rules)
        else:
            found.append(_cannot_run(where, line, table, judged))
    found += _pairs(rules.must_run, rules.exclusive_ppgs)
    found += _slots(list(at.values()), rules)
    spent = float(sum(judged.cost[row] for row in at))
    if rules.must_run and rules.budget_usd is None:
        found.append(Conflict("rules.budget_usd", NO_BUDGET, f"give a budget of at least {spent:.2f} USD"))
    elif rules.budget_usd is not None and spent > rules.budget_usd + MONEY_TOLERANCE:
        short = spent - rules.budget_usd
        found.append(
            Conflict(
                "rules.budget_usd",
                f"the must-runs cost {spent:.2f} USD, the budget is {rules.budget_usd:.2f}",
                f"raise the budget by {short:.2f} USD, or drop must-runs that cost at least that much",
            )
        )
    if found:
        raise InfeasiblePlanError(found)


def _cannot_run(where: str, line: MustRun, table: EffectTable, judged: Candidates) -> Conflict:
    outlet, ppg = table.place_of_outlet(line.outlet_id), table.place_of_ppg(line.ppg_id)
    rows = judged.row[(table.outlet[judged.row] == outlet) & (table.ppg[judged.row] == ppg)]
    known = ", ".join(table.activations[a].name for a in table.activation[rows].tolist())
    what = (
        f"outlet {line.outlet_id} cannot run {line.activation} for ppg {line.ppg_id}: the effect table does not know it"
    )
    if outlet not in set(table.outlet[judged.row].tolist()):
        return Conflict(where, f"outlet {line.outlet_id} is not among the outlets of this plan", "add it to outlet_ids")
    return Conflict(where, what, f"ask for one of: {known}" if known else "choose another ppg, or drop the line")


def _against(where: str, line: MustRun, judged: Candidates, row: int, rules: PlanRules) -> list[Conflict]:
    name = f"{line.activation} for ppg {line.ppg_id} in outlet {line.outlet_id}"
    least = rules.minimum_net_margin_usd or 0.0
    since, gap = judged.weeks_since[row], rules.minimum_gap_weeks
    said = {
        Status.HELD_OUT: (
            f"{name} must run, and {HELD_OUT}",
            "drop the line: a holdout with activations measures nothing",
        ),
        Status.NEVER_RUN: (f"{name} must run and must never run", "take it out of must_run or of never_run"),
        Status.GAP: (
            f"{name}: the ppg was activated {since:.0f} week(s) ago, the minimum gap is {gap} week(s)",
            f"lower minimum_gap_weeks by {gap - since + 1:.0f} to {since - 1:.0f}, or drop the line",
        ),
        Status.GAP_UNKNOWN: (
            f"{name}: nobody knows when the ppg was last activated there",
            "set minimum_gap_weeks to 0, or drop the line",
        ),
        Status.BELOW_MARGIN: (
            f"{name} is expected to bring {judged.net[row]:.2f} USD net, the minimum is {least:.2f}",
            f"lower minimum_net_margin_usd by {least - judged.net[row]:.2f} USD, or drop the line",
        ),
    }
    status = Status(int(judged.status[row]))
    return [Conflict(where, *said[status])] if status in said else []


def _pairs(lines: Sequence[MustRun], exclusive: Sequence[Sequence[str]]) -> Iterator[Conflict]:
    """Promised lines that exclude each other: two activations of one ppg, or two ppgs of one exclusive set."""
    sets: list[frozenset[str]] = [frozenset(ppgs) for ppgs in exclusive]
    by_outlet = defaultdict(list)
    for i, line in enumerate(lines):
        by_outlet[line.outlet_id].append((i, line))
    for outlet, mine in by_outlet.items():
        by_ppg: dict[str, tuple[int, MustRun]] = {}
        for i, line in mine:
            first = by_ppg.setdefault(line.ppg_id, (i, line))[1]
            if first.activation != line.activation:
                what = f"ppg {line.ppg_id} in outlet {outlet} must run {first.activation} and {line.activation}"
                yield Conflict(f"rules.must_run.{i}", what, "drop one of the two: a ppg runs one activation")
        for number, together in enumerate(sets):
            both = sorted(together & by_ppg.keys())
            if len(both) > 1:
                what = f"ppgs {' and '.join(both)} must run in outlet {outlet} and exclude each other"
                relax = f"drop {len(both) - 1} of these must-runs, or relax exclusive_ppgs.{number}"
                yield Conflict(f"rules.must_run.{by_ppg[both[-1]][0]}", what, relax)


def _slots(lines: Sequence[MustRun], rules: PlanRules) -> Iterator[Conflict]:
    names = {(line.outlet_id, line.ppg_id): line.activation for line in lines}
    outlets, place = np.unique([outlet for outlet, _ in names], return_inverse=True)
    for rule, part in (("max_displays", "display"), ("max_mailers", "mailer"), ("max_activated_ppgs", "")):
        limit = getattr(rules, rule)
        if limit is None or not len(outlets):
            continue
        counts = np.bincount(place, weights=[float(part in name) for name in names.values()])
        for at in np.flatnonzero(counts > limit):
            what = f"outlet {outlets[at]} has {counts[at]:.0f} must-runs that take one, {limit} are allowed"
            relax = f"raise {rule} by {counts[at] - limit:.0f}, or drop {counts[at] - limit:.0f} of these must-runs"
            yield Conflict(f"rules.{rule}", what, relax)
