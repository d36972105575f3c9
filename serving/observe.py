"""The outermost layer of the API: ids, RED metrics and a line a request, bounded concurrency, no stack traces."""

import re
import time
import uuid
from typing import Any

import structlog
from opentelemetry import trace
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.logs import trace_id
from serving.metrics import Metrics
from serving.problems import TOO_LARGE, problem

REQUEST_ID = "X-Request-ID"
LOGGED_CHARACTERS = 200
ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

log = structlog.get_logger()


class Observe:
    """ASGI middleware around everything else, so that even a refused request is counted and has an id."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, max_in_flight: int) -> None:
        self._app = app
        self._metrics = metrics
        self._max_in_flight = max_in_flight
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, counted and timed whatever becomes of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        request_id = given if ACCEPTED_ID.fullmatch(given) else str(uuid.uuid4())
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.perf_counter()
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        response = _Response(send, request_id)
        found = {"request_id": request_id, "trace_id": trace_id(headers)}
        trace.get_current_span().set_attribute("poplift.request_id", request_id)
        with structlog.contextvars.bound_contextvars(**{name: value for name, value in found.items() if value}):
            try:
                await self._answer(scope, receive, response)
            finally:
                self._in_flight -= 1
                self._metrics.in_flight.set(self._in_flight)
                self._count(scope, response.status, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, response: "_Response") -> None:
        if scope["path"].startswith("/v1/") and self._in_flight > self._max_in_flight:
            busy = problem(
                503,
                "Too many requests are being answered; try again in a moment.",
                kind="overloaded",
                request_id=response.request_id,
                headers={"Retry-After": "1"},
            )
            await busy(scope, receive, response.send)
            return
        try:
            await self._app(scope, receive, response.send)
        except Exception:
            log.exception("request_failed", path=scope["path"][:LOGGED_CHARACTERS])
            if response.status:  # half an answer is on the wire: all that is left is to cut it off
                raise
            failed = problem(
                500,
                "The service failed to answer; the cause is in its log under this request id.",
                request_id=response.request_id,
            )
            await failed(scope, receive, response.send)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self._metrics.requests.labels(method, route, str(status or 499)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        line = {"method": method, "route": route, "status": status or 499, "duration_ms": round(seconds * 1e3, 2)}
        if client := scope["state"].get("client"):  # set by whoever checked its key
            line["client"] = str(client)[:LOGGED_CHARACTERS]
        log.info("request", **line)


class _Response:
    """Adds the request id to the answer and gives Starlette's plain 413 the form of a problem."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0
        self._replaced = False

    async def send(self, message: Message) -> None:
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            if self.status == 413 and headers.get("content-type", "").startswith("text/plain"):
                await self._too_large()
                return
            headers[REQUEST_ID] = self.request_id
        await self._send(message)

    async def _too_large(self) -> None:
        self._replaced = True
        answer = problem(413, TOO_LARGE, request_id=self.request_id)
        answer.headers[REQUEST_ID] = self.request_id

        async def nothing() -> Any:
            return {"type": "http.disconnect"}

        await answer({"type": "http"}, nothing, self._send)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
