"""Keeps the libraries' chatter out of the terminal: warnings and notices that a user can do nothing about."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator


def quieten() -> None:
    """Only errors of libraries are shown; the product's own words come through the console."""
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").addHandler(logging.NullHandler())
    logging.getLogger("py.warnings").propagate = False
    for name in ("mlflow", "alembic", "feast", "matplotlib", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.showwarning = lambda *_, **__: None


@contextlib.contextmanager
def swallowed() -> Iterator[None]:
    """Hold back what libraries print; shown after all when the block fails."""
    held = io.StringIO()
    try:
        with contextlib.redirect_stdout(held), contextlib.redirect_stderr(held):
            yield
    except Exception:
        chatter = held.getvalue()
        # A progress bar that was cut short has no end of line, and the error comes next.
        sys.stderr.write(chatter if chatter.endswith("\n") or not chatter else f"{chatter}\n")
        raise
