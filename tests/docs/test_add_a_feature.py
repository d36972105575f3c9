"""The edits of add-a-feature.md, applied to a copy of the packages, pass the tests that the page names."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = "how-to/add-a-feature.md"
VIEW = "outlet_ppg_sales"
UNIT = Path("tests/unit/feature_repo/transformations")
Blocks = Callable[..., list[str]]


def edit(folder: Path, diff: str) -> None:
    """Apply a block of one file: lines with a space stand there once already, lines with a plus are added."""
    header, *lines = diff.splitlines()
    file = folder / header.removeprefix("--- ")
    before = "".join(f"{line[1:]}\n" for line in lines if line[0] == " ")
    after = "".join(f"{line[1:]}\n" for line in lines if line[0] != "-")
    text = file.read_text()
    assert text.count(before) == 1, f"{file.name} does not hold these lines once:\n{before}"
    file.write_text(text.replace(before, after))


@pytest.fixture
def copy(tmp_path: Path, root: Path) -> Path:
    """A copy of what the page edits, with its unit tests."""
    for package in ("poplift", "feature_repo"):
        shutil.copytree(root / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / UNIT).mkdir(parents=True)
    for name in ("conftest.py", "test_views.py"):
        shutil.copy(root / UNIT / name, tmp_path / UNIT / name)
    return tmp_path


def run_unit_tests(folder: Path) -> str:
    """Outcome of the view's unit tests with the packages of `folder` in front."""
    quiet = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--import-mode=importlib"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *quiet, "-k", f"{VIEW} or biggest", "--rootdir", str(folder), str(UNIT)],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_edits_of_the_page_pass_the_test_of_the_page(copy: Path, blocks: Blocks) -> None:
    for diff in blocks(PAGE, "diff", "add_a_feature"):
        edit(copy, diff)
    (test,) = blocks(PAGE, "python", "add_a_feature")
    with (copy / UNIT / "test_views.py").open("a") as file:
        file.write(f"\n\n{test}")
    outcome = run_unit_tests(copy)
    assert re.search(r"^\d+ passed", outcome, re.MULTILINE), outcome
    assert "failed" not in outcome, outcome


def test_a_column_without_its_name_in_the_catalog_is_noticed(copy: Path, blocks: Blocks) -> None:
    _, column = blocks(PAGE, "diff", "add_a_feature")
    edit(copy, column)
    outcome = run_unit_tests(copy)
    assert "units_max_13w" in outcome
    assert "1 failed" in outcome, outcome
