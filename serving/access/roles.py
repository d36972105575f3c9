"""The roles of clients, and how a route says which of them it asks for."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ROLE = "x-role"
PUBLIC = "public"


class Role(StrEnum):
    """What a client may do; none includes another, a client has as many as it needs."""

    READ = "read"
    DECIDE = "decide"
    INGEST = "ingest"
    OPERATE = "operate"


@dataclass(frozen=True)
class Client:
    """Who asks: the name of its key or the subject of its token, and its roles."""

    name: str
    roles: frozenset[str]


class AccessError(Exception):
    """The API may not be started as the settings say, or a key cannot be made or revoked; the message says why."""


class RefusedError(Exception):
    """A request is not answered because of who asks; the cause is for the log, the detail for the client."""

    def __init__(self, status: int, detail: str, *, cause: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.cause, self.headers = status, cause, headers or {}


def asks(role: Role) -> dict[str, Any]:
    """What a guarded route carries in `openapi_extra`: the role it asks for."""
    return {ROLE: role.value, "security": [{"bearer": []}]}


def asks_nobody() -> dict[str, Any]:
    """The same for a route that answers everybody."""
    return {ROLE: PUBLIC, "security": []}
