"""The only reader of the wall clock; business time comes from settings."""

from datetime import UTC, datetime
from typing import Literal


def wall_now() -> datetime:
    """The present instant in UTC: for logs, the ledger, tokens and deadlines, never for features."""
    return datetime.now(tz=UTC)


def present(business_time: datetime | Literal["now"]) -> datetime:
    """Business time at this moment: the instant where it stands still, the wall clock where it says "now"."""
    return wall_now() if business_time == "now" else business_time
