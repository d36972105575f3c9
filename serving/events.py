"""The route by which POS lines arrive one request at a time; sent again, a line counts once."""

from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Body, Request
from pydantic import AwareDatetime, BeforeValidator, Field

from poplift.contracts.tables import POS_LINES
from serving import examples, schemas
from serving.access.roles import Role, asks
from serving.event_door import NotTakenError
from serving.idempotency import KEYED, IdempotentRoute
from serving.problems import NotReadyError, request_id
from serving.service import Service

MOST_LINES = 1000
LONGEST_ID = 200
EXAMPLE = {
    "basket_id": "31993011201",
    "product_id": "819312",
    "outlet_id": "367",
    "shopper_id": "1229",
    "week": 53,
    "sold_at": "2017-12-31T15:20:00-05:00",
    "quantity": 2,
    "sales_value": 5.98,
    "retail_discount": 0.0,
    "coupon_discount": 0.0,
    "coupon_match_discount": 0.0,
}

log = structlog.get_logger()
router = APIRouter(route_class=IdempotentRoute, prefix="/v1", tags=["events"])


def _said(column: str) -> str:
    found = POS_LINES.column(column)
    return f"{found.description} In {found.unit}." if found.unit else found.description


def is_text(value: object) -> object:
    """The value; ValueError where an instant is not sent as text."""
    if not isinstance(value, str):
        raise ValueError("an instant is text with its offset, 2017-12-31T15:20:00-05:00")  # noqa: TRY004 # pydantic's
    return value


class PosLine(schemas.Request):
    """One product line of one basket; ranges and references are the contract's, and a line outside is quarantined."""

    basket_id: Annotated[str, Field(min_length=1, max_length=LONGEST_ID, description=_said("basket_id"))]
    product_id: Annotated[str, Field(min_length=1, max_length=LONGEST_ID, description=_said("product_id"))]
    outlet_id: Annotated[str, Field(min_length=1, max_length=LONGEST_ID, description=_said("outlet_id"))]
    shopper_id: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=LONGEST_ID,
            description="Household or loyalty id, replaced by its pseudonym before anything is kept.",
        ),
    ] = None
    week: Annotated[int, Field(description=_said("week"))]
    sold_at: Annotated[AwareDatetime, BeforeValidator(is_text), Field(strict=False, description=_said("sold_at"))]
    quantity: Annotated[int, Field(description=_said("quantity"))]
    sales_value: Annotated[float, Field(description=_said("sales_value"))]
    retail_discount: Annotated[float, Field(description=_said("retail_discount"))]
    coupon_discount: Annotated[float, Field(description=_said("coupon_discount"))]
    coupon_match_discount: Annotated[float, Field(description=_said("coupon_match_discount"))]


class Quarantined(schemas.Answer):
    """A line that breaks the contract: kept in the quarantine, counted nowhere else."""

    row: int = Field(description="Place in the request, from 0.")
    column: str
    rule: str = Field(description="type, null, range, future, unknown or duplicate.")


class EventsAnswer(schemas.Answer):
    """What became of the lines; where a stream takes them, its consumer judges them after the answer."""

    request_id: str
    state: Literal["applied", "queued"] = Field(description="applied: in the lake and online; queued: on the stream.")
    accepted: int
    duplicates: int | None = Field(description="Known already, or repeated; null while queued.")
    quarantined: list[Quarantined] | None = Field(description="null while queued.")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    413: {"description": "The body is larger than 1 MiB."},
    422: {"description": "A line breaks the schema; nothing of the request was taken."},
    503: {"description": "Lines cannot be taken now; send the same request again."},
}


@router.post(
    "/events",
    status_code=202,
    responses=PROBLEMS | {202: examples.shows(examples.EVENTS)},
    openapi_extra=asks(Role.INGEST) | KEYED,
    summary="POS lines as they are sold",
)
def post_events(
    request: Request,
    lines: Annotated[
        list[PosLine],
        Field(min_length=1, max_length=MOST_LINES),
        Body(openapi_examples={"one line": {"value": [EXAMPLE]}}),
    ],
) -> EventsAnswer:
    """Take up to 1000 lines. Basket and product name a line: sent again it is a duplicate, changed a correction."""
    service: Service = request.app.state.service
    try:
        received = service.events.receive([line.model_dump() for line in lines])
    except NotTakenError as error:
        log.error("events_not_taken", cause=str(error))  # noqa: TRY400 # the cause says it, the trace says no more
        raise NotReadyError("Lines cannot be taken now. Send them again: what was taken counts once.") from error
    if received.refused is None:
        return EventsAnswer(
            request_id=request_id(request),
            state="queued",
            accepted=received.accepted,
            duplicates=None,
            quarantined=None,
        )
    refused = [Quarantined(row=int(r.message), column=r.column, rule=r.rule) for r in received.refused]
    return EventsAnswer(
        request_id=request_id(request),
        state="applied",
        accepted=received.accepted,
        duplicates=received.duplicates,
        quarantined=sorted(refused, key=lambda r: r.row),
    )
