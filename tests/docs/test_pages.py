"""What the how-to and concept pages state about settings, gate, ledger, sources and code is so."""

import ast
import importlib
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from poplift.ledger import Move
from poplift.settings import load_settings
from poplift.sources.ingest import Source
from serving import release
from training import folds
from training.baselines import GLM, NAIVE
from training.gate import calibration, cost, fairness, generalisation, judge, knowledge, slices

Blocks = Callable[..., list[str]]
FOLDERS = ("how-to", "concepts")


@pytest.fixture(scope="session")
def pages(root: Path) -> dict[str, str]:
    """Text of every how-to and concept page by its path under docs."""
    return {f"{folder}/{f.name}": f.read_text() for folder in FOLDERS for f in (root / "docs" / folder).glob("*.md")}


def python_blocks(text: str) -> list[str]:
    """All fenced Python of a page, run by a test or not."""
    return re.findall(r"^```python.*?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_gate_answers_the_examples_of_the_page_as_the_page_says(
    blocks: Blocks, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = blocks("how-to/add-a-model.md", "python", "add_a_model")
    exec(compile(code, "add-a-model.md", "exec"), {})
    assert [capsys.readouterr().out] == blocks("how-to/add-a-model.md", "text", "add_a_model")


def test_everything_imported_in_a_code_block_exists(pages: dict[str, str]) -> None:
    ours = ("poplift", "feature_repo", "training", "serving", "monitoring", "flows")
    asked = [
        (page, node.module, alias.name)
        for page, text in pages.items()
        for code in python_blocks(text)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ours
        for alias in node.names
        if node.module != "poplift.sources.csv_folder"  # the module that the reader writes
    ]
    assert asked
    assert [a for a in asked if not hasattr(importlib.import_module(a[1]), a[2])] == []


def test_every_path_in_back_quotes_is_in_the_repository(pages: dict[str, str], root: Path) -> None:
    made = {"poplift/sources/csv_folder.py"}
    top = {p.name for p in root.iterdir() if p.is_dir() and p.name != "var"}
    named = {
        (page, path)
        for page, text in pages.items()
        for path in re.findall(r"`([\w.-]+/[\w./-]*\.(?:py|toml|md|sql|yml|yaml))`", text)
        if path.split("/")[0] in top
    }
    assert len(named) > 20
    assert {(page, path) for page, path in named if path not in made and not (root / path).exists()} == set()


def test_the_names_the_pages_lean_on_are_in_the_files_they_name(root: Path) -> None:
    for file, names in {
        "poplift/market_week.py": ("LOCAL_TIME",),
        "training/search.py": ("_SPACE", "_distributions"),
        "training/demand.py": ("Recipe", "mean_objective", "fit_head"),
        "flows/steps/train.py": ("propose_simpler_model",),
        "poplift/registry.py": ("DEMAND",),
        "flows/steps/gate.py": ("BASELINES",),
        "serving/release.py": ("HEADS", "_heads"),
        "poplift/assumptions.py": ("Assumptions",),
        "feature_repo/transformations/panel.py": ("stamped",),
    }.items():
        text = (root / file).read_text()
        assert [name for name in names if not re.search(rf"\b{name}\b", text)] == [], file


def test_the_members_of_a_source_are_those_of_the_protocol(pages: dict[str, str]) -> None:
    listed = re.findall(r"^\| `(\w+)(?:\([\w, ]*\))?` \| \w+ .*$", pages["how-to/bring-your-own-data.md"], re.MULTILINE)
    members = [name for name in vars(Source) if not name.startswith("_")]
    assert [name for name in listed if name in members] == members


def test_the_weeks_a_source_needs_are_those_the_split_needs(pages: dict[str, str]) -> None:
    import pandas as pd

    needed = folds.FIRST_TARGET_WEEK - 1 + 2 * folds.HOLDOUT_WEEKS
    assert f"**{needed} weeks**" in pages["how-to/bring-your-own-data.md"]
    folds.holdout_fold(pd.DataFrame({"week": range(folds.FIRST_TARGET_WEEK, needed + 1)}))
    with pytest.raises(ValueError, match="ingest more history"):
        folds.holdout_fold(pd.DataFrame({"week": range(folds.FIRST_TARGET_WEEK, needed)}))


def test_the_bounds_of_the_gate_are_those_of_the_page(pages: dict[str, str]) -> None:
    page = pages["concepts/gate.md"]
    told = (
        f"fewer than {judge.LEAST_WEEKS} weeks or {judge.LEAST_OUTLETS} outlets",
        f"surely more than {slices.MOST_HARM:.0%} worse",
        f"fewer than {slices.LEAST_TRANSACTIONS} transactions, {slices.LEAST_OUTLETS} outlets or {slices.LEAST_WEEKS} weeks",
        f"surely more than {fairness.MOST_SPREAD:.0%} apart",
        f"a total more than {calibration.MOST_BIAS:.0%} off",
        f"surely more than {calibration.MOST_TENTH_BIAS:.0%} off",
        f"surely outside {calibration.COVERAGE[0]:.0%} to {calibration.COVERAGE[1]:.0%}",
        f"surely more than {-knowledge.LEAST_SCATTER:.0%} below",
        f"surely more than {generalisation.MOST_LOSS:.0%} worse on held-out weeks",
        f"more than {cost.MOST_MILLISECONDS:.0f} ms per {cost.ROWS:,} rows",
        f"more than {cost.MOST_TIMES_SLOWER:.0f} times the champion's time, more than {cost.MOST_MEGABYTES:.0f} MB",
    )
    assert [bound for bound in told if bound.replace("%", " %") not in page] == []


def test_every_check_of_the_gate_is_in_the_table(pages: dict[str, str]) -> None:
    asked = [check for check in judge.REQUIRED if check != judge.EVIDENCE]
    assert [check for check in asked if f"\n| {check} | " not in pages["concepts/gate.md"]] == []


def test_every_baseline_is_explained(pages: dict[str, str]) -> None:
    assert [n for n in ("all_zero", *NAIVE, GLM) if f"`{n}`" not in pages["concepts/demand-model.md"]] == []


def test_every_file_of_a_release_is_in_the_table(pages: dict[str, str]) -> None:
    files = [f"{head}.lgb" for head in release.HEADS]
    files += [release.MANIFEST, release.PLAN, release.POLICY, release.GOLDEN]
    assert [f for f in files if f"`{f}`" not in pages["how-to/add-a-model.md"]] == []


def test_every_field_of_the_ledger_is_in_the_table(pages: dict[str, str]) -> None:
    table = pages["how-to/promote-and-roll-back.md"].partition("## The ledger")[2]
    assert [f.name for f in fields(Move) if f"`{f.name}`" not in table] == []


def test_the_variables_of_the_production_page_make_a_production_profile(
    pages: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = pages["how-to/production-profile.md"]
    exported = dict(re.findall(r"^export (POPLIFT_\w+)=(\S+)$", page, re.MULTILINE))
    for name, value in exported.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(home=tmp_path)
    assert settings.profile == "production"
    for name in ("registry", "mlflow", "prefect"):
        assert f"`{settings.database_url(name).rpartition('/')[2]}`" in page
    assert len(exported) == 5
    monkeypatch.delenv("POPLIFT_SHOPPER_KEY")
    with pytest.raises(Exception, match="POPLIFT_SHOPPER_KEY"):
        load_settings(home=tmp_path)
