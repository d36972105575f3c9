"""How a step says what it is doing, and learns that it should stop."""

import threading
from collections.abc import Callable

Progress = Callable[[str], None]

# Set by Ctrl-C. The exception alone is not enough: raised inside a callback from native code, it is thrown away.
interrupted = threading.Event()


def silent(_: str) -> None:
    """Say nothing."""


def stop_if_interrupted() -> None:
    """Raise KeyboardInterrupt when Ctrl-C was pressed before."""
    if interrupted.is_set():
        raise KeyboardInterrupt
