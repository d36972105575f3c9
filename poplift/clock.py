"""The only reader of the wall clock; business time comes from settings."""

from datetime import UTC, datetime


def wall_now() -> datetime:
    """The present instant in UTC: for logs, the ledger, tokens and deadlines, never for features."""
    return datetime.now(tz=UTC)
