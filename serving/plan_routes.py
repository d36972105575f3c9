"""The route of what-if questions about a week's plan: which activations under which budget and rules."""

import threading
from datetime import UTC, date, datetime
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from poplift.assumptions import Assumptions
from poplift.market_week import decided_week
from serving import examples
from serving.access.guard import GuardedRoute
from serving.access.roles import Role, asks
from serving.exploration import held_out
from serving.planner.conflicts import InfeasiblePlanError
from serving.planner.effects import EffectTable, age_note
from serving.planner.eligible import LineKey
from serving.planner.explain import Explained, Line, Reason
from serving.planner.recency import weeks_since_activation
from serving.planner.rules import PlanPolicy, PlanRules
from serving.planner.solve import PlanningError
from serving.planner.summary import CAUTION, Summary, summary_of
from serving.planner.week import WeekPlan, plan_week
from serving.problems import NotReadyError, problem, request_id
from serving.schemas import MAX_ROWS, Answer, Outlet
from serving.schemas import Request as ClosedRequest
from serving.service import Service

MOST_ROWS = 100_000  # of the effect table in one question; more is the weekly step's work
MOST_PAIRS = 10_000  # whose last activation is read online for one question
EXAMPLE = {"rules": {"budget_usd": 20.0, "max_displays": 1, "max_activated_ppgs": 3}, "limit": 20}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    413: {"description": "The body is larger than 1 MiB."},
    422: {"description": "The request breaks the schema, or no plan keeps these rules: errors say which to relax."},
    503: {"description": "There is no effect table, the online store does not answer, or other plans are being made."},
}

router = APIRouter(route_class=GuardedRoute, prefix="/v1", tags=["decisions"], responses=PROBLEMS)
# A plan takes a core for a moment; who waited for it would keep a thread from the other routes.
_planning = threading.Semaphore(1)


class PlanRequest(ClosedRequest):
    """What if: a budget and rules over all outlets of the effect table, or over those named."""

    rules: PlanRules = PlanRules()
    outlet_ids: Annotated[
        list[Outlet] | None, Field(min_length=1, max_length=MAX_ROWS, description="Which outlets; all if absent.")
    ] = None
    limit: Annotated[
        int, Field(ge=0, le=MAX_ROWS, description="How many lines to return, of those that run and of the others.")
    ] = 100


class Range(Answer):
    """An estimate with the bounds of its interval."""

    estimate: float
    low: float
    high: float


class PlanTotals(Answer):
    """The whole plan, a week; bounds as if all errors pointed the same way."""

    lines: int
    outlets: int
    budget_usd: float | None = Field(description="null: none was given, so nothing is spent.")
    cost_usd: float
    left_usd: float
    net_value_usd: float = Field(description="Incremental margin less cost.")
    incremental_margin_usd: Range
    incremental_transactions: Range
    incremental_units: Range
    shadow_price: float = Field(description="Net value that the budget's next dollar would bring.")
    bound_usd: float = Field(description="No plan under these rules is worth more by these estimates.")
    gap_share: float = Field(description="Share of the bound that is at most missing.")
    is_proven: bool = Field(description="No better plan exists by these estimates.")


class PlanLine(Answer):
    """One outlet and ppg: what runs, or the candidate that came nearest, with why."""

    outlet_id: str
    ppg_id: str
    activation: str
    reason: Reason
    why: str
    incremental_transactions: Range
    incremental_units: Range
    incremental_margin_usd: Range = Field(description="Before activation cost; bounds at the policy's confidence.")
    cost_usd: float
    net_value_usd: float
    value_per_usd: float | None = Field(description="null: it costs nothing of the budget.")


class PlanAnswer(Answer):
    """A plan is an answer, not an order: nothing is booked and nothing is logged as decided."""

    request_id: str
    business_time: datetime
    week_start: date = Field(description="First local day of the week the plan is about.")
    caution: str = CAUTION
    effects_digest: str = Field(description="Which effect table answered.")
    effects_fitted_at: datetime | None = Field(
        description="Business time of the fit; null: the table does not say. Older than 84 days it answers nothing."
    )
    effects_note: str | None = Field(description="Said where the effects are older than they should be.")
    refused_rows: dict[str, int] = Field(description="Rows of the effect table that were not used, by reason.")
    policy: PlanPolicy
    assumptions: Assumptions
    totals: PlanTotals
    lines: list[PlanLine] = Field(description="What runs, the most valuable first.")
    not_run_reasons: dict[str, int] = Field(description="Outlet and ppg pairs that do not run, by reason.")
    not_run: list[PlanLine] = Field(description="What does not run, the most valuable first.")


def install(app: FastAPI) -> None:
    """Register the handlers of what a plan may be refused for."""
    app.add_exception_handler(InfeasiblePlanError, _infeasible)
    app.add_exception_handler(PlanningError, _intractable)


@router.post(
    "/plan",
    responses={200: examples.shows(examples.PLAN)},
    openapi_extra=asks(Role.DECIDE),
    summary="The most valuable activations of the coming week under a budget and rules",
)
def post_plan(
    request: Request,
    asked: Annotated[PlanRequest, Body(openapi_examples={"a budget and slots": {"value": EXAMPLE}})],
) -> PlanAnswer:
    """Choose under budget, slots, exclusivity, gap, minimum margin, must-run and never-run, and explain every line.

    Without `budget_usd` nothing is planned. Rules that cannot be kept together are a 422 that says which to relax
    and by how much. Effects are estimates; what they rest on is in the answer.
    """
    service: Service = request.app.state.service
    table = service.effects.get()
    if table is None:
        raise NotReadyError(f"No effect table is loaded: {service.effects.error}")
    now = service.business_time
    pairs = _pairs(table, asked)
    if not _planning.acquire(blocking=False):
        raise NotReadyError("Another plan is being made; try again in a moment.")
    try:
        since = weeks_since_activation(service.reader, pairs, business_time=now)
        release = service.current.get()
        kept_out = held_out(asked.outlet_ids or table.outlet_ids, policy=release.policy if release else None)
        plan = plan_week(table, asked.rules, outlet_ids=asked.outlet_ids, held_out=kept_out, weeks_since=since)
        explained = Explained(plan)
        return _answer(plan, explained, asked.limit, request_id(request), now)
    finally:
        _planning.release()


def _pairs(table: EffectTable, asked: PlanRequest) -> list[LineKey]:
    """The pairs whose last activation must be known; raises PlanningError where more is asked than one request may."""
    rows = np.ones(len(table), np.bool_)
    if asked.outlet_ids is not None:
        wanted = [at for o in asked.outlet_ids if (at := table.place_of_outlet(o)) is not None]
        rows = np.isin(table.outlet, np.array(wanted, dtype=np.intp))
    if rows.sum() > MOST_ROWS:
        raise PlanningError(
            f"{int(rows.sum())} rows of the effect table are in question, one request takes {MOST_ROWS}: name fewer "
            "outlet_ids, or run `poplift plan`"
        )
    if not asked.rules.minimum_gap_weeks:
        return []
    pairs = np.unique(np.column_stack([table.outlet[rows], table.ppg[rows]]), axis=0).tolist()
    if len(pairs) > MOST_PAIRS:
        raise PlanningError(
            f"a minimum gap asks for the past of {len(pairs)} outlet and ppg pairs, one request takes {MOST_PAIRS}: "
            "name fewer outlet_ids, or run `poplift plan`"
        )
    return [(table.outlet_ids[outlet], table.ppg_ids[ppg]) for outlet, ppg in pairs]


def _answer(plan: WeekPlan, explained: Explained, limit: int, asked_as: str, now: datetime) -> PlanAnswer:
    summary = summary_of(plan, explained)
    return PlanAnswer(
        request_id=asked_as,
        business_time=now.astimezone(UTC),
        week_start=decided_week(now),
        effects_digest=summary.effects_digest,
        effects_fitted_at=summary.effects_fitted_at,
        effects_note=age_note(summary.effects_fitted_at, now=now),
        refused_rows=summary.refused_rows,
        policy=summary.policy,
        assumptions=summary.assumptions,
        totals=_totals(summary),
        lines=[_line(line) for line in explained.lines(explained.running()[:limit])],
        not_run_reasons=summary.not_run,
        not_run=[_line(line) for line in explained.lines(explained.not_running()[:limit])],
    )


def _totals(summary: Summary) -> PlanTotals:
    plain = {name: getattr(summary, name) for name in PlanTotals.model_fields}
    return PlanTotals.model_validate({n: _range(*v) if isinstance(v, tuple) else v for n, v in plain.items()})


def _line(line: Line) -> PlanLine:
    plain = {name: getattr(line, name) for name in PlanLine.model_fields}
    ranges = {
        name: _range(plain[name], getattr(line, f"{name}_low"), getattr(line, f"{name}_high"))
        for name in plain
        if name.startswith("incremental_")
    }
    return PlanLine(**(plain | ranges))


def _range(estimate: float, low: float, high: float) -> Range:
    return Range(estimate=estimate, low=low, high=high)


def _infeasible(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, InfeasiblePlanError)  # noqa: S101 - narrows the type the framework guarantees
    errors = [{"where": c.where, "what": c.what, "relax": c.relax} for c in error.conflicts]
    detail = f"No plan keeps these rules, for {len(errors)} reason(s); errors say which to relax and by how much."
    return problem(422, detail, kind="infeasible-plan", request_id=request_id(request), errors=errors)


def _intractable(request: Request, error: Exception) -> JSONResponse:
    return problem(422, str(error), kind="plan-too-large", request_id=request_id(request))
