"""Why a line is in the plan and why another is not, in figures and in words, for as many entries as are shown."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from serving.exploration import HELD_OUT
from serving.planner.conflicts import NO_BUDGET
from serving.planner.eligible import Status
from serving.planner.problem import MONEY_TOLERANCE, NOTHING, Flags, Floats, Ints
from serving.planner.rules import TABLE_CONFIDENCE
from serving.planner.week import SLOT_RULES, WeekPlan

Reason = Literal[
    "runs", "must_run", "holdout", "no_budget", "budget", "slots", "exclusivity", "combination",
    "never_run", "gap", "thin_evidence", "interval_crosses_zero", "no_gain", "minimum_margin",
]  # fmt: skip
NOT_ELIGIBLE: dict[Status, Reason] = {
    Status.HELD_OUT: "holdout",
    Status.NEVER_RUN: "never_run",
    Status.GAP: "gap",
    Status.GAP_UNKNOWN: "gap",
    Status.THIN_EVIDENCE: "thin_evidence",
    Status.CROSSES_ZERO: "interval_crosses_zero",
    Status.NO_GAIN: "no_gain",
    Status.BELOW_MARGIN: "minimum_margin",
}


@dataclass(frozen=True)
class Line:
    """One (outlet, ppg): what runs, or the candidate that came nearest and why it does not run.

    Effects are per week and net. Bounds are those of the effect table; of the margin, which decides, those at the
    confidence of the policy. `value_per_usd` is None where the activation costs nothing of the budget.
    """

    outlet_id: str
    ppg_id: str
    activation: str
    runs: bool
    reason: Reason
    why: str
    incremental_transactions: float
    incremental_transactions_low: float
    incremental_transactions_high: float
    incremental_units: float
    incremental_units_low: float
    incremental_units_high: float
    incremental_margin_usd: float
    incremental_margin_usd_low: float
    incremental_margin_usd_high: float
    cost_usd: float
    net_value_usd: float
    value_per_usd: float | None
    shadow_price: float


class Explained:
    """The lines of a plan, made on demand: running ones by value, the others by the value that was passed over."""

    def __init__(self, plan: WeekPlan) -> None:
        self._plan = plan
        judged = plan.candidates
        self._reduced = judged.net - plan.solved.shadow_price * judged.cost
        self._outlet = plan.table.outlet[judged.row]

    @cached_property
    def shown(self) -> Ints:
        """The candidate of every entry that is told of: what runs, else the eligible one nearest to it, else any."""
        plan, judged = self._plan, self._plan.candidates
        if not len(judged.row):
            return np.zeros(0, np.intp)
        size = np.diff(plan.first, append=len(judged.row))
        entry = np.repeat(np.arange(len(plan.first)), size)
        eligible = judged.status == Status.ELIGIBLE
        order = np.lexsort((np.where(eligible, -self._reduced, -judged.net), ~eligible, entry))
        nearest = order[plan.first]
        return np.where(plan.chosen != NOTHING, plan.chosen, nearest)

    @cached_property
    def reasons(self) -> list[Reason]:
        """One reason per entry."""
        plan, judged, at = self._plan, self._plan.candidates, self.shown
        codes = np.full(len(at), "combination", dtype=object)
        eligible = judged.status[at] == Status.ELIGIBLE
        over = self._over(at)
        slots = over[:, : self._slot_count].any(axis=1)
        codes[judged.cost[at] > plan.left_usd + MONEY_TOLERANCE] = "budget"
        codes[slots] = "slots"
        codes[over[:, self._slot_count :].any(axis=1)] = "exclusivity"
        codes[self._reduced[at] <= 0] = "budget"
        for status, reason in NOT_ELIGIBLE.items():
            codes[~eligible & (judged.status[at] == status)] = reason
        if plan.rules.budget_usd is None:
            codes[eligible] = "no_budget"
        runs = plan.chosen != NOTHING
        codes[runs] = "runs"
        codes[runs & judged.must[at]] = "must_run"
        reasons: list[Reason] = codes.tolist()
        return reasons

    def running(self) -> Ints:
        """Entries that run, the most valuable first."""
        return self._by_net(np.flatnonzero(self._plan.chosen != NOTHING))

    def not_running(self) -> Ints:
        """Entries that do not run, the one whose candidate looked most valuable first."""
        return self._by_net(np.flatnonzero(self._plan.chosen == NOTHING))

    def lines(self, entries: Ints) -> list[Line]:
        """The lines of these entries, in their order."""
        return [self._line(int(entry)) for entry in entries]

    def counts(self) -> dict[str, int]:
        """How many entries do not run, by reason, the most frequent first."""
        reasons = np.array(self.reasons, dtype=object)[self._plan.chosen == NOTHING]
        names, counts = np.unique(reasons.astype(str), return_counts=True)
        ranked = sorted(zip(names.tolist(), counts.tolist(), strict=True), key=lambda item: (-item[1], item[0]))
        return dict(ranked)

    def _by_net(self, entries: Ints) -> Ints:
        order: Ints = entries[np.argsort(-self._plan.candidates.net[self.shown[entries]], kind="stable")]
        return order

    @property
    def _slot_count(self) -> int:
        return sum(name in SLOT_RULES for name in self._plan.resources.names)

    @cached_property
    def _used(self) -> Ints:
        """What the plan uses of every limit, by outlet."""
        resources, running = self._plan.resources, self._plan.running
        used = np.zeros((len(self._plan.table.outlet_ids), len(resources.limits)), np.intp)
        np.add.at(used, self._outlet[running], resources.uses[running])
        return used

    def _over(self, at: Ints) -> Flags:
        """Which limits adding a candidate to the plan would break, (g, r)."""
        uses = self._plan.resources.uses[at]
        over: Flags = (self._used[self._outlet[at]] + uses) * (uses > 0) > self._plan.resources.limits
        return over

    def _line(self, entry: int) -> Line:
        plan, judged = self._plan, self._plan.candidates
        table, at = plan.table, int(self.shown[entry])
        row = int(judged.row[at])
        cost, net = float(judged.cost[at]), float(judged.net[at])
        line = Line(
            table.outlet_ids[table.outlet[row]],
            table.ppg_ids[table.ppg[row]],
            table.activations[table.activation[row]].name,
            bool(plan.chosen[entry] != NOTHING),
            self.reasons[entry],
            "",
            *_three(table.transactions, row),
            *_three(table.units, row),
            *(float(table.margin.estimate[row]), float(judged.low[at]), float(judged.high[at])),
            cost,
            net,
            net / cost if cost > 0 else None,
            plan.solved.shadow_price,
        )
        return replace(line, why=self._brings(line) if line.runs else self._because(line, at, entry))

    def _brings(self, line: Line) -> str:
        head = "promised, must run" if line.reason == "must_run" else "chosen"
        cost = "" if line.value_per_usd is None else f" for {line.cost_usd:.2f} USD"
        return f"{head}: {_gain(line)}{cost}; {worth(line)}"

    def _because(self, line: Line, at: int, entry: int) -> str:
        rules, level = self._plan.rules, f"{self._plan.policy.confidence:.0%}"
        status = Status(int(self._plan.candidates.status[at]))
        per_dollar = "" if line.value_per_usd is None else f" ({line.value_per_usd:.2f} net per dollar)"
        said = {
            "holdout": HELD_OUT,
            "no_budget": NO_BUDGET,
            "budget": self._budget(line),
            "slots": f"the outlet's slots are full ({', '.join(self._full(entry))})",
            "exclusivity": "a ppg that excludes it runs in this outlet",
            "combination": "another combination of activations in this outlet is worth more",
            "never_run": "a never-run rule forbids it",
            "gap": (
                "nobody knows when it was last activated here"
                if status is Status.GAP_UNKNOWN
                else f"last activated {self._plan.candidates.weeks_since[at]:.0f} week(s) ago, "
                f"the minimum gap is {rules.minimum_gap_weeks}"
            ),
            "thin_evidence": _thin(line),
            "interval_crosses_zero": (
                f"the {level} interval of its margin, {line.incremental_margin_usd_low:.2f} to "
                f"{line.incremental_margin_usd_high:.2f} USD, does not lie above zero"
            ),
            "no_gain": f"it costs {line.cost_usd:.2f} USD and brings {line.incremental_margin_usd:.2f} USD margin",
            "minimum_margin": (
                f"it brings {line.net_value_usd:.2f} USD net, the minimum is {rules.minimum_net_margin_usd or 0:.2f}"
            ),
        }
        return f"not run: best candidate {line.activation}{per_dollar}: {said[line.reason]}"

    def _budget(self, line: Line) -> str:
        if line.value_per_usd is not None and line.value_per_usd <= line.shadow_price:
            return f"the budget's last dollar brings {line.shadow_price:.2f} elsewhere"
        return f"it costs {line.cost_usd:.2f} USD, {self._plan.left_usd:.2f} are left"

    def _full(self, entry: int) -> Sequence[str]:
        over = self._over(self.shown[[entry]])[0]
        names, limits = self._plan.resources.names, self._plan.resources.limits
        return [f"{names[r]} {limits[r]}" for r in range(self._slot_count) if over[r]]


def _three(effect: object, row: int) -> tuple[float, float, float]:
    estimate, low, high = (getattr(effect, name)[row] for name in ("estimate", "low", "high"))
    return float(estimate), float(low), float(high)


def worth(line: Line) -> str:
    """What a line that runs brings for its money, against what the budget brings elsewhere."""
    if line.value_per_usd is None:
        return "it costs nothing of the budget"
    per_dollar = f"{line.value_per_usd:.2f} net per dollar"
    if not line.shadow_price:
        return f"{per_dollar}; the budget is not used up"
    said = f"{per_dollar}; the budget's last dollar brings {line.shadow_price:.2f}"
    spends_the_rest = line.reason == "runs" and line.value_per_usd < line.shadow_price
    return f"{said}; it uses what other lines leave of the budget" if spends_the_rest else said


def _thin(line: Line) -> str:
    """Which of the two reasons that evidence is thin for holds; the bounds tell one, and leave the other."""
    low, high = line.incremental_transactions_low, line.incremental_transactions_high
    if low <= 0 <= high:
        return (
            f"evidence is thin: the {TABLE_CONFIDENCE:.0%} interval of its transactions, {low:+.1f} to {high:+.1f}, "
            "holds zero"
        )
    return "evidence is thin: comparable cells hardly ever had the choice between it and none"


def _gain(line: Line) -> str:
    return (
        f"{line.incremental_transactions:+.1f} transactions ({line.incremental_transactions_low:+.1f} to "
        f"{line.incremental_transactions_high:+.1f}) and {line.incremental_margin_usd:+.2f} USD margin "
        f"({line.incremental_margin_usd_low:+.2f} to {line.incremental_margin_usd_high:+.2f})"
    )


def total_interval(plan: WeekPlan, effect: object) -> tuple[float, float, float]:
    """Estimate and bounds of the whole plan if all errors point the same way: the widest it can be."""
    values: list[Floats] = [getattr(effect, name) for name in ("estimate", "low", "high")]
    estimate, low, high = (plan.total(value) for value in values)
    return estimate, low, high
