"""The steps of change-a-feature.md, applied to a copy of the packages: refused in place, served side by side, retired."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from poplift.lake import Lake
from poplift.settings import child_environment, load_settings
from tests.unit.feature_repo.late_chain import WEEKS, chain, landed, write

pytestmark = pytest.mark.slow

PAGE = "how-to/change-a-feature.md"
Blocks = Callable[..., list[str]]
# What `poplift features` does, without the settings file that it renders into the checkout.
REFRESH = """
from feature_repo import running
from feature_repo.build import build
from feature_repo.definitions.repository import objects
from poplift import feature_store
from poplift.databases import ensure_databases
from poplift.lake import Lake
from poplift.settings import load_settings

settings = load_settings()
ensure_databases(settings)
lake = Lake(settings.lake_dir)
feature_store.refuse_breaking_changes(settings, objects(settings))
build(lake, features_dir=settings.features_dir, as_of=settings.now())
running.write_table(lake, features_dir=settings.features_dir, as_of=settings.now())
feature_store.apply(settings, objects(settings))
feature_store.materialize(settings)
"""
SERVICES = """
from poplift import feature_store
from poplift.settings import load_settings

store = feature_store.open_store(load_settings())
print(*sorted(o.name for o in (*store.list_feature_services(), *store.list_feature_views())))
"""


def edit(folder: Path, diff: str) -> None:
    """Apply a block of one file: its lines with a space or a minus stand there once; a block of added lines is a file."""
    header, *lines = diff.splitlines()
    file = folder / header.removeprefix("--- ")
    before = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
    after = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
    if not before:
        assert not file.exists()
        file.write_text(after)
        return
    text = file.read_text()
    assert text.count(before) == 1, f"{file.name} does not hold these lines once:\n{before}"
    file.write_text(text.replace(before, after))


class Checkout:
    """A copy of what the page edits, with a home of its own that the unchanged code has filled."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        for package in ("poplift", "feature_repo"):
            shutil.copytree(root / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        self.settings = load_settings(home=folder / "var", business_time=landed(WEEKS))
        write(Lake(self.settings.lake_dir), chain())
        self.run(REFRESH)

    def run(self, program: str, *, fails: bool = False) -> str:
        """Output of a program that imports the copy."""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            cwd=self.folder,
            env=child_environment(self.settings, PYTHONPATH=str(self.folder)),
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert bool(done.returncode) == fails, said
        return said


@pytest.fixture
def checkout(tmp_path: Path, root: Path) -> Checkout:
    """The repository before the change."""
    return Checkout(tmp_path, root)


def test_a_feature_dropped_in_place_is_refused_in_the_words_of_the_page(checkout: Checkout, blocks: Blocks) -> None:
    for diff in blocks(PAGE, "diff", "in_place"):
        edit(checkout.folder, diff)
    (words,) = blocks(PAGE, "text", "in_place")
    assert words in checkout.run(REFRESH, fails=True)


def test_the_steps_of_the_page_serve_both_versions_and_retire_the_old_one(checkout: Checkout, blocks: Blocks) -> None:
    before = checkout.run(SERVICES)
    for diff in blocks(PAGE, "diff", "beside"):
        edit(checkout.folder, diff)
    checkout.run(REFRESH)
    (program,) = blocks(PAGE, "python", "beside")
    first, second = [line.split() for line in checkout.run(program).splitlines()[-2:]]
    assert first[:2] == ["demand_serving_v1", "True"]
    assert second[:2] == ["demand_serving_v2", "False"]
    assert first[2] == second[2] != "nan"

    for diff in blocks(PAGE, "diff", "retire"):
        edit(checkout.folder, diff)
    checkout.run(REFRESH)
    catalog = checkout.folder / "feature_repo" / "catalog.py"
    gone = "\nEARLIER_VIEWS = ()\nEARLIER_SERVICES = ()\nBUILT = VIEWS\n"
    catalog.write_text(catalog.read_text() + gone)
    checkout.run(REFRESH)
    renamed = {"demand_serving_v1": "demand_serving_v2", "demand_training_v1": "demand_training_v2"}
    renamed["outlet_trend"] = "outlet_trend_v2"
    expected = sorted(renamed.get(name, name) for name in before.split())
    assert checkout.run(SERVICES).split() == expected
