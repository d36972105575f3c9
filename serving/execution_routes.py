"""The route by which outlets and apps tell what became of a recommendation: planned is not done."""

from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Body, Request
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from poplift.activation import parse_activation
from poplift.contracts.tables import contract
from serving import examples, schemas
from serving.access.roles import Role, asks
from serving.events import LONGEST_ID, MOST_LINES, Quarantined, is_text
from serving.idempotency import KEYED, IdempotentRoute
from serving.problems import NotReadyError, request_id
from serving.service import Service

EXECUTIONS = contract("executions")
EXAMPLE = {
    "execution_id": "visit-20180103-367-1",
    "decision_id": "0c4a8c53-5e1b-4f0e-9a55-0f6c3f4f2d11",
    "outcome": "executed",
    "reported_at": "2018-01-01T09:30:00-05:00",
}
log = structlog.get_logger()
router = APIRouter(route_class=IdempotentRoute, prefix="/v1", tags=["decisions"])


def _said(column: str) -> str:
    return EXECUTIONS.column(column).description


def _is_activation(name: str | None) -> str | None:
    if name is not None:
        parse_activation(name)
    return name


class ExecutionReport(schemas.Request):
    """What became of one recommendation; a report of a decision that was never made is quarantined."""

    execution_id: Annotated[str, Field(min_length=1, max_length=LONGEST_ID, description=_said("execution_id"))]
    decision_id: Annotated[str, Field(min_length=1, max_length=LONGEST_ID, description=_said("decision_id"))]
    outcome: Annotated[
        Literal["shown", "opened", "accepted", "executed", "refused"], Field(description=_said("outcome"))
    ]
    activation: Annotated[
        str | None,
        Field(max_length=100, description=_said("activation"), examples=["display+price_cut_20"]),
        AfterValidator(_is_activation),
    ] = None
    reported_at: Annotated[
        AwareDatetime, Field(strict=False, description=_said("reported_at")), BeforeValidator(is_text)
    ]


class ExecutionsAnswer(schemas.Answer):
    """What became of the reports; the three counts add up to those sent."""

    request_id: str
    accepted: int = Field(description="New, and in the lake.")
    duplicates: int = Field(description="Known already under their id.")
    quarantined: list[Quarantined] = Field(description="Kept apart: unknown decision, conflict, future.")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    413: {"description": "The body is larger than 1 MiB."},
    422: {"description": "A report breaks the schema; nothing of the request was taken."},
    503: {"description": "Reports cannot be taken now; send the same request again."},
}


@router.post(
    "/executions",
    status_code=202,
    responses=PROBLEMS | {202: examples.shows(examples.EXECUTIONS)},
    openapi_extra=asks(Role.INGEST) | KEYED,
    summary="What became of recommendations",
)
def post_executions(
    request: Request,
    reports: Annotated[
        list[ExecutionReport],
        Field(min_length=1, max_length=MOST_LINES),
        Body(openapi_examples={"one report": {"value": [EXAMPLE]}}),
    ],
) -> ExecutionsAnswer:
    """Take up to 1000 reports: shown, opened, accepted, executed or refused. Sent again, a report counts once."""
    from poplift.lake import LakeError  # loaded by the first report, with the door and what it stands on

    service: Service = request.app.state.service
    try:
        received = service.executions().receive([report.model_dump() for report in reports])
    except LakeError as error:
        log.error("executions_not_taken", cause=str(error))  # noqa: TRY400 # the cause says it, the trace says no more
        raise NotReadyError("Reports cannot be taken now. Send them again: what was taken counts once.") from error
    refused = [Quarantined(row=int(r.message), column=r.column, rule=r.rule) for r in received.refused]
    return ExecutionsAnswer(
        request_id=request_id(request),
        accepted=received.accepted,
        duplicates=received.duplicates,
        quarantined=sorted(refused, key=lambda r: r.row),
    )
