"""The route by which whoever runs the service takes back the release that answers."""

from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from poplift.journal import JournalError
from serving import examples, schemas
from serving.access.roles import Role, asks
from serving.idempotency import KEYED, IdempotentRoute
from serving.pointer import PointerMovedError
from serving.problems import NotReadyError, problem, request_id
from serving.release import ReleaseError
from serving.rollback import NoPreviousReleaseError
from serving.service import Service

LONGEST_WHY = 500
LONGEST_ID = 100
OVER_HTTP = "API"
EXAMPLE = {"why": "answers too high since the new release", "release_id": "9c1f0a7be3d2"}
REFUSED = {"409": {"description": "Nothing was moved; the problem's type says why."}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    413: {"description": "The body is larger than 1 MiB."},
    422: {"description": "The request breaks the schema; nothing was moved."},
    503: {"description": "Pointer or ledger cannot be written now; nothing was moved, send the same request again."},
}

log = structlog.get_logger()
router = APIRouter(route_class=IdempotentRoute, prefix="/v1", tags=["operations"])


class RollbackRequest(schemas.Request):
    """Why the release that answers has to go, and which one that is."""

    why: Annotated[str, Field(min_length=1, max_length=LONGEST_WHY, description="Reason, kept in the ledger.")]
    release_id: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=LONGEST_ID,
            description="Release that has to go; when another one answers by now, nothing is moved.",
        ),
    ] = None


class RollbackAnswer(schemas.Answer):
    """What answers now; every process does within two seconds."""

    request_id: str
    release_id: str = Field(description="The release that answers again.")
    taken_back: str = Field(description="The release that answered before; another rollback puts it back.")
    model_version: str | None = Field(description="Version that becomes champion; null when it is champion already.")


@router.post(
    "/releases/rollback",
    responses=PROBLEMS | {200: examples.shows(examples.ROLLED_BACK)},
    response_model=RollbackAnswer,
    openapi_extra=asks(Role.OPERATE) | KEYED | {"responses": REFUSED},
    summary="The previous release answers again, as one unit",
)
def post_rollback(
    request: Request,
    asked: Annotated[RollbackRequest, Body(openapi_examples={"a reason and the release": {"value": EXAMPLE}})],
) -> Response:
    """Put back model, features' order and policy that answered before, verified anew.

    Neither MLflow nor its database is asked: the alias `champion` follows when whoever follows it looks next, and the
    ledger keeps who asked and why. A second call puts back what the first took away; name `release_id`, or send an
    `Idempotency-Key`, so that one sent twice is done once.
    """
    service: Service = request.app.state.service
    client = getattr(request.state, "client", None)
    who = OVER_HTTP if client is None else f"{client} ({OVER_HTTP})"
    try:
        back = service.roll_back(who=who, why=asked.why, instead_of=asked.release_id)
    except (NoPreviousReleaseError, PointerMovedError) as error:
        kind = "release-moved" if isinstance(error, PointerMovedError) else "no-previous-release"
        return problem(409, f"{error}.", kind=kind, request_id=request_id(request))
    except ReleaseError as error:
        log.error("rollback_refused", cause=str(error))  # noqa: TRY400 - the cause says it
        detail = "The previous release does not verify; the one that answers goes on. The log says what is wrong."
        return problem(409, detail, kind="release-refused", request_id=request_id(request))
    except (JournalError, OSError) as error:  # filelock's Timeout is one
        log.error("rollback_failed", cause=str(error))  # noqa: TRY400 - the cause says it
        raise NotReadyError("Pointer or ledger cannot be written now; nothing was moved.") from error
    log.warning("rolled_back", release=back.release_id, taken_back=back.taken_back, who=who, why=asked.why)
    service.current.refresh()  # the other processes look within two seconds
    answer = RollbackAnswer(
        request_id=request_id(request),
        release_id=back.release_id,
        taken_back=back.taken_back,
        model_version=back.owed.to_version if back.owed else None,
    )
    return JSONResponse(answer.model_dump())
