"""Pages of the documentation and the blocks of them that tests run: ```python test=<name>."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Blocks = Callable[..., list[str]]


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def blocks() -> Blocks:
    """The fenced blocks of a page with this language and test name, in order; at least one."""

    def found(page: str, language: str, name: str) -> list[str]:
        text = (ROOT / "docs" / page).read_text()
        pattern = rf"^```{language} test={re.escape(name)}\n(.*?)^```$"
        matches = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
        assert matches, f"docs/{page} has no block ```{language} test={name}"
        return matches

    return found
