"""The figures of a whole plan: what it costs and should bring, how near to the best possible, and what was left out."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from poplift.assumptions import Assumptions
from serving.planner.explain import Explained, total_interval
from serving.planner.rules import PlanPolicy, PlanRules
from serving.planner.week import WeekPlan

CAUTION = (
    "Expected values are estimates. Lines are chosen because their estimates are high, so the sum is more likely too "
    "high than too low; an experiment says what a plan really brought."
)


@dataclass(frozen=True)
class Summary:
    """Totals a week; the bounds hold if all errors point the same way, which is the widest they can be.

    `bound_usd` is more than any plan under these rules can be worth by these estimates, `gap_share` what is missing to
    it, and `is_proven` that no better plan exists. `shadow_price` is the net value of the budget's next dollar.
    """

    lines: int
    outlets: int
    budget_usd: float | None
    cost_usd: float
    left_usd: float
    net_value_usd: float
    incremental_margin_usd: tuple[float, float, float]
    incremental_transactions: tuple[float, float, float]
    incremental_units: tuple[float, float, float]
    shadow_price: float
    bound_usd: float
    gap_share: float
    is_proven: bool
    not_run: dict[str, int]
    missing_outlets: tuple[str, ...]
    refused_rows: dict[str, int]
    effects_digest: str
    effects_fitted_at: datetime | None
    rules: PlanRules
    policy: PlanPolicy
    assumptions: Assumptions

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        models = {name: getattr(self, name).model_dump(mode="json") for name in ("rules", "policy", "assumptions")}
        fitted = {"effects_fitted_at": self.effects_fitted_at.isoformat() if self.effects_fitted_at else None}
        return {k: v for k, v in asdict(self).items() if k not in models} | models | fitted


def summary_of(plan: WeekPlan, explained: Explained) -> Summary:
    """The figures of a plan."""
    running, solved = plan.running, plan.solved
    outlets = plan.table.outlet[plan.candidates.row[running]]
    return Summary(
        lines=len(running),
        outlets=len(set(outlets.tolist())),
        budget_usd=plan.rules.budget_usd,
        cost_usd=solved.cost,
        left_usd=max(0.0, plan.left_usd),
        net_value_usd=solved.value,
        incremental_margin_usd=total_interval(plan, plan.table.margin),
        incremental_transactions=total_interval(plan, plan.table.transactions),
        incremental_units=total_interval(plan, plan.table.units),
        shadow_price=solved.shadow_price,
        bound_usd=solved.bound,
        gap_share=solved.gap,
        is_proven=solved.is_proven,
        not_run=explained.counts(),
        missing_outlets=plan.missing,
        refused_rows=dict(plan.table.refused),
        effects_digest=plan.table.digest,
        effects_fitted_at=plan.table.fitted_at,
        rules=plan.rules,
        policy=plan.policy,
        assumptions=plan.assumptions,
    )
