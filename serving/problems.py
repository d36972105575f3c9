"""Every error of the API as problem+json (RFC 9457): what happened, where, what to do; never the input."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serving.access.roles import RefusedError
from serving.decide import UnknownEntityError
from serving.online import StoreUnavailableError
from serving.schemas import Problem

MEDIA_TYPE = "application/problem+json"
SHOWN_ERRORS = 20
TOO_LARGE = "The body is larger than the API accepts; send fewer rows."

SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of `poplift keys create`, or a token of the issuer; asked for where POPLIFT_ACCESS=required. "
    "The role an operation needs is its `x-role`.",
}
REFUSALS: dict[str, dict[str, Any]] = {
    "401": {"description": "No key or token, or one that is not accepted."},
    "403": {"description": "The client does not have the role of this operation."},
    "429": {"description": "The client asks more often than it may; Retry-After says how long to wait."},
}
UNREADABLE: dict[str, dict[str, Any]] = {
    "400": {"description": "The body is no text that could be JSON."},
    "408": {"description": "The request did not arrive whole in time."},
}

log = structlog.get_logger()


class NotReadyError(Exception):
    """The service cannot answer now; `checks` says what is missing."""

    def __init__(self, detail: str, checks: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(detail)
        self.checks = list(checks)


def problem(
    status: int,
    detail: str,
    *,
    kind: str | None = None,
    request_id: str | None = None,
    errors: Sequence[Mapping[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem response; `kind` names it for programs, the title is the status' phrase."""
    title = HTTPStatus(status).phrase
    content: dict[str, Any] = {
        "type": f"urn:poplift:problem:{kind or title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    if errors:
        content["errors"] = [dict(error) for error in errors[:SHOWN_ERRORS]]
    return JSONResponse(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Register a handler for every error that a route or the framework may raise."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(UnknownEntityError, _unknown)
    app.add_exception_handler(StoreUnavailableError, _store)
    app.add_exception_handler(NotReadyError, _not_ready)
    app.add_exception_handler(RefusedError, _refused)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]


def request_id(request: Request) -> str:
    """The id that came with the request, or the one it was given."""
    return str(request.state.request_id)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - narrows the type the framework guarantees
    errors = [
        {"where": ".".join(str(part) for part in item["loc"])[:200], "what": str(item["msg"])[:300]}
        for item in error.errors()
    ]
    detail = f"The request has {len(errors)} invalid value(s); see errors for where and what."
    return problem(422, detail, kind="invalid-request", request_id=request_id(request), errors=errors)


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - narrows the type the framework guarantees
    detail = TOO_LARGE if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else error.detail
    return problem(error.status_code, detail, request_id=request_id(request), headers=error.headers)


def _unknown(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UnknownEntityError)  # noqa: S101 - narrows the type the framework guarantees
    errors = [{"where": where, "what": reason} for where, reason in error.problems]
    return problem(404, str(error), kind="unknown-entity", request_id=request_id(request), errors=errors)


def _store(request: Request, error: Exception) -> JSONResponse:
    log.error("online_store_unavailable", cause=str(error))
    request.app.state.service.metrics.store_failures.inc()
    detail = "The online feature store did not answer; try again in a moment."
    return problem(503, detail, kind="store-unavailable", request_id=request_id(request), headers={"Retry-After": "1"})


def _not_ready(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, NotReadyError)  # noqa: S101 - narrows the type the framework guarantees
    return problem(
        503,
        str(error),
        kind="not-ready",
        request_id=request_id(request),
        errors=error.checks,
        headers={"Retry-After": "5"},
    )


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)  # noqa: S101 - narrows the type the framework guarantees
    return problem(error.status, str(error), request_id=request_id(request), headers=error.headers)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The document with every error as a problem, which is what the handlers send."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schema["components"]["securitySchemes"] = {"bearer": SCHEME}
        reference = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for path in schema["paths"].values():
            for operation in path.values():
                if "requestBody" in operation:
                    operation["responses"].update(UNREADABLE)
                if operation.get("security"):
                    operation["responses"].update(REFUSALS)
                for status, response in operation["responses"].items():
                    if int(status) >= HTTPStatus.BAD_REQUEST:
                        response["content"] = reference
        app.openapi_schema = schema
    return app.openapi_schema
