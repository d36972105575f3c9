"""The route of the published plan: what the week's run decided, in pages, and nothing again that a client has."""

from datetime import date
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, FastAPI, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field, ValidationError
from pydantic_core import to_json

from poplift.assumptions import Assumptions
from serving import examples
from serving.access.guard import GuardedRoute
from serving.access.roles import Role, asks
from serving.plan_routes import PlanLine, PlanTotals, Range
from serving.planner.published import Cursor, CursorError, NoPlanError, PlanUnreadableError, PublishedPlans
from serving.planner.rules import PlanPolicy, PlanRules
from serving.planner.summary import CAUTION
from serving.problems import NotReadyError, problem, request_id
from serving.schemas import MAX_ROWS, Answer, Outlet
from serving.service import Service

PROBLEMS: dict[int | str, dict[str, Any]] = {
    304: {"description": "The plan is the one that If-None-Match names; there is no body."},
    404: {"description": "No plan was published yet, or the plan of this cursor is not kept any more."},
    422: {"description": "A parameter breaks the schema, or the cursor is not one of this API."},
    503: {"description": "The published plan cannot be read."},
}
router = APIRouter(route_class=GuardedRoute, prefix="/v1", tags=["decisions"], responses=PROBLEMS)
log = structlog.get_logger()


class PublishedLine(PlanLine):
    """One outlet and ppg of the published plan."""

    runs: bool


class PublishedPlan(Answer):
    """A page of the plan; totals, rules and assumptions are those of the whole plan."""

    plan_id: str = Field(description="Week and digest; the ETag. Another plan of the same week has another one.")
    week_start: date = Field(description="First local day of the week the plan is about.")
    caution: str = CAUTION
    rules: PlanRules
    policy: PlanPolicy
    assumptions: Assumptions
    effects_digest: str = Field(description="Which effect table it was made from.")
    totals: PlanTotals
    not_run_reasons: dict[str, int] = Field(description="Outlet and ppg pairs that do not run, by reason.")
    lines: list[PublishedLine] = Field(description="In the order of outlet and ppg.")
    next_cursor: str | None = Field(description="Ask again with it for the next lines; null: these were the last.")


def install(app: FastAPI) -> None:
    """Register the handlers of what the plan may be refused for."""
    app.add_exception_handler(NoPlanError, _no_plan)


@router.get(
    "/plan",
    response_model=PublishedPlan,
    responses={200: examples.shows(examples.PUBLISHED)},
    openapi_extra=asks(Role.READ),
    summary="The plan that was published last",
)
def get_plan(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS, description="How many lines to return.")] = 100,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next_cursor` of the page before; it stays in that page's plan.")
    ] = None,
    outlet_id: Annotated[Outlet | None, Query()] = None,
    *,
    include_not_run: Annotated[
        bool, Query(description="Also the lines that do not run, each with its reason.")
    ] = False,
    if_none_match: Annotated[str | None, Header(description="ETag of the plan the client has.")] = None,
) -> Response:
    """What the week's run decided, as it was left: asking again changes nothing and plans nothing.

    The ETag is the plan's id: sent back in `If-None-Match` it gets a 304 as long as there is no newer plan.
    """
    service: Service = request.app.state.service
    try:
        start = Cursor.parse(cursor) if cursor is not None else Cursor(service.plans.latest(), 0)
        headers = {"ETag": f'"{start.plan_id}"', "Cache-Control": "private, no-cache"}
        if if_none_match is not None and _names(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        answer = _answer(service.plans, start, limit=limit, runs_only=not include_not_run, outlet_id=outlet_id)
    except CursorError as error:
        wrong = [{"where": "query.cursor", "what": str(error)}]
        detail = "The cursor cannot be used; begin again without one."
        return problem(422, detail, kind="invalid-request", request_id=request_id(request), errors=wrong)
    except (PlanUnreadableError, ValidationError) as error:
        log.error("plan_unreadable", cause=str(error))  # noqa: TRY400 - the cause says it
        raise NotReadyError("The published plan cannot be read; the cause is in the log.") from error
    return Response(answer.model_dump_json(), media_type="application/json", headers=headers)


def _answer(
    plans: PublishedPlans, start: Cursor, *, limit: int, runs_only: bool, outlet_id: str | None
) -> PublishedPlan:
    said = plans.summary(start.plan_id)
    page = plans.page(start, limit=limit, runs_only=runs_only, outlet_id=outlet_id)
    totals = {
        name: _range(*said[name]) if isinstance(said[name], list) else said[name] for name in PlanTotals.model_fields
    }
    return PublishedPlan(
        plan_id=start.plan_id,
        week_start=date.fromisoformat(start.plan_id[:10]),
        rules=PlanRules.model_validate_json(to_json(said["rules"])),
        policy=PlanPolicy.model_validate_json(to_json(said["policy"])),
        assumptions=Assumptions.model_validate_json(to_json(said["assumptions"])),
        effects_digest=said["effects_digest"],
        totals=PlanTotals.model_validate(totals),
        not_run_reasons=said["not_run"],
        lines=[_line(line) for line in page.lines],
        next_cursor=str(page.more) if page.more else None,
    )


def _line(row: dict[str, Any]) -> PublishedLine:
    ranges = {
        name: _range(row[name], row[f"{name}_low"], row[f"{name}_high"])
        for name in PublishedLine.model_fields
        if name.startswith("incremental_")
    }
    return PublishedLine(**({name: row[name] for name in PublishedLine.model_fields} | ranges))


def _range(estimate: float, low: float, high: float) -> Range:
    return Range(estimate=estimate, low=low, high=high)


def _names(if_none_match: str, etag: str) -> bool:
    """Whether one of the listed tags is this one, as RFC 9110 compares them for If-None-Match."""
    listed = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in listed or etag in listed


def _no_plan(request: Request, error: Exception) -> JSONResponse:
    return problem(404, str(error), kind="no-plan", request_id=request_id(request))
