"""How a command calls a step: settings read once, progress shown, libraries kept quiet."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poplift.settings import Settings


def settings() -> "Settings":
    """Settings of this process, with the libraries' own output turned down."""
    from flows.quiet import quieten
    from poplift.settings import load_settings

    loaded = load_settings()
    quieten()
    return loaded


def run_step(title: str, step: Callable[..., Any], **options: Any) -> Any:
    """Run a step with its progress shown; what it raises goes to the entry point."""
    from flows.console import Console

    return Console().step(title, step, settings(), **options)
