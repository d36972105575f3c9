"""A request sent again under its `Idempotency-Key` gets the answer it got before, and is done once."""

import asyncio
import hashlib
import re
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request, Response

from serving.access.guard import GuardedRoute
from serving.problems import NotReadyError, problem, request_id
from serving.remembered_answers import KeptAnswer, KeyInUseError, OtherRequestError, RememberedAnswers

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
JSON = "application/json"
_KEY = re.compile(r'"?([\x21\x23-\x7e]{1,255})"?')  # the draft's quoted string, or bare as most clients send it
# What a route of this class carries in `openapi_extra` beside its role.
KEYED: dict[str, Any] = {
    "parameters": [
        {
            "name": HEADER,
            "in": "header",
            "required": False,
            "description": "Made by the client for each thing it does, not for each attempt. The same request under "
            "the same key gets the same answer for a day.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$"},
            "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
        }
    ],
    "responses": {"409": {"description": "The first request with this Idempotency-Key is still being answered."}},
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
log = structlog.get_logger()


class IdempotentRoute(GuardedRoute):
    """A route that answers a key once; without the header it is as any other."""

    def get_route_handler(self) -> Handler:
        """Put the memory before the route's own handler."""
        answer = super().get_route_handler()

        async def answer_once(request: Request) -> Response:
            given = request.headers.get(HEADER)
            return await answer(request) if given is None else await _once(request, given, answer)

        return answer_once


async def _once(request: Request, given: str, answer: Handler) -> Response:
    key = _KEY.fullmatch(given)
    if key is None:
        wrong = [{"where": f"header.{HEADER}", "what": "1 to 255 visible ASCII characters, without quotes"}]
        detail = f"{HEADER} cannot be used; see errors."
        return problem(422, detail, kind="invalid-request", request_id=request_id(request), errors=wrong)
    answers: RememberedAnswers = request.app.state.service.answers
    mine = (getattr(request.state, "client", "local"), key[1])
    try:
        kept = await asyncio.to_thread(answers.claim, *mine, await _fingerprint(request))
    except KeyInUseError:
        detail = f"The first request with this {HEADER} is still being answered; send it again in a moment."
        return problem(409, detail, kind="key-in-use", request_id=request_id(request), headers={"Retry-After": "1"})
    except OtherRequestError:
        detail = f"This {HEADER} was used for another request; make a new key for each thing you do."
        return problem(422, detail, kind="key-reused", request_id=request_id(request))
    except (sqlite3.Error, OSError) as error:
        log.error("answers_not_remembered", cause=str(error))  # noqa: TRY400 - the cause says it
        raise NotReadyError(f"{HEADER} cannot be kept now; nothing was done, send the same request again.") from error
    if kept is not None:
        return Response(kept.body, kept.status, media_type=JSON, headers={REPLAYED: "true"})
    return await _answered(answers, mine, answer, request)


async def _answered(answers: RememberedAnswers, mine: tuple[str, str], answer: Handler, request: Request) -> Response:
    try:
        response = await answer(request)
    except BaseException:  # whatever ends it, the next attempt is a first one
        await _tried(answers.release, *mine)
        raise
    if response.status_code < 400:
        await _tried(answers.keep, *mine, KeptAnswer(response.status_code, bytes(response.body)))
    else:
        await _tried(answers.release, *mine)
    return response


async def _tried(change: Callable[..., None], *arguments: Any) -> None:
    """What is done is done: an answer that cannot be kept is given all the same, and its key is free after a minute."""
    try:
        await asyncio.shield(asyncio.to_thread(change, *arguments))
    except (sqlite3.Error, OSError) as error:
        log.error("answers_not_remembered", cause=str(error))  # noqa: TRY400 - the cause says it


async def _fingerprint(request: Request) -> str:
    """Of method, address and body: all that makes a request another one."""
    said = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(said + await request.body()).hexdigest()
