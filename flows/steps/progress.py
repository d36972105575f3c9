"""How a step says what it is doing."""

from collections.abc import Callable

Progress = Callable[[str], None]


def silent(_: str) -> None:
    """Say nothing."""
