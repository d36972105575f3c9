"""The source of bring-your-own-data.md takes in a small chain, and the page shows what it really prints."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from feature_repo.build import EmptyWeekError, build
from feature_repo.catalog import VIEWS
from poplift.contracts.check import ContractError
from poplift.contracts.tables import CONTRACTS
from poplift.lake import Lake
from poplift.sources.ingest import ingest

PAGE = "how-to/bring-your-own-data.md"
MODULE = "poplift.sources.csv_folder"
FIRST_MONDAY, WEEKS = date(2025, 1, 6), 16
STORES, ARTICLES, GROUPS = ("s1", "s2", "s3"), ("a1", "a2"), ("cola", "tea")
AS_OF = datetime(2025, 4, 29, 4, tzinfo=UTC)
Blocks = Callable[..., list[str]]


def line(week: int, store: str, article: str, **changed: object) -> dict[str, object]:
    """One sold line, on the Wednesday of its week, arriving at night."""
    day = FIRST_MONDAY + timedelta(weeks=week - 1, days=2)
    row = {"receipt": f"r-{week}-{store}-{article}", "article": article, "store": store, "card": f"c{week % 5}"}
    row |= {"bought_at": f"{day}T12:30:00-05:00", "pieces": 2, "paid": 3.98, "arrived_at": f"{day}T23:00:00-05:00"}
    return row | changed


def write_chain(folder: Path) -> Path:
    """The five exports of a chain of three stores over sixteen weeks, five of its sold lines broken."""
    folder.mkdir(parents=True)
    good = [line(w, s, a) for w in range(1, WEEKS + 1) for s in STORES for a in ARTICLES]
    broken = [
        line(1, "s1", "a1", paid=9.99),
        line(2, "s1", "a1", receipt="r-word", pieces="two"),
        line(3, "s1", "a1", receipt="r-return", pieces=-1),
        line(4, "s1", "a9", receipt="r-alien"),
        line(5, "s1", "a1", receipt="r-lost", bought_at="last Tuesday"),
    ]
    kind = {"maker": "m", "category": "Drinks", "kind": "can", "size": "12 oz"}
    tables = {
        "sales": [*good, *broken],
        "articles": [
            *({"article": a, **kind, "price_group": g} for a, g in zip(ARTICLES, GROUPS, strict=True)),
            {"article": "a3", **kind, "price_group": None},
        ],
        "stores": [{"store": s, "has_plan": "true"} for s in STORES],
        "promotions": [
            {"article": "a1", "store": s, "week": w, "display": "9", "leaflet": None} for s in STORES for w in (3, 8)
        ],
        "prices": [
            {"price_group": g, "week": w, "regular": 1.99, "planned": 1.49 if w == 8 else 1.99}
            for g in GROUPS
            for w in range(1, WEEKS + 1)
        ],
    }
    for name, rows in tables.items():
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture
def csv_folder(tmp_path: Path, blocks: Blocks, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the page under the name that the page saves it as."""
    (code,) = blocks(PAGE, "python", "csv_folder")
    path = tmp_path / "csv_folder.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, MODULE, module)
    spec.loader.exec_module(module)
    return module


def test_the_snippets_of_the_page_print_what_the_page_says(
    csv_folder: ModuleType,
    tmp_path: Path,
    blocks: Blocks,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_chain(tmp_path / "incoming")
    names: dict[str, object] = {}
    snippets = blocks(PAGE, "python", "bring_your_own_data")
    shown = blocks(PAGE, "text", "bring_your_own_data")
    for snippet, output in zip(snippets, shown, strict=True):
        exec(compile(snippet, PAGE, "exec"), names)
        assert capsys.readouterr().out == output


def test_the_source_of_the_page_obeys_the_rules_of_the_house(root: Path, blocks: Blocks) -> None:
    (code,) = blocks(PAGE, "python", "csv_folder")
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", "poplift/sources/csv_folder.py", "-"],
            input=code,
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_source_of_the_page_offers_every_contract_in_order(csv_folder: ModuleType, tmp_path: Path) -> None:
    assert list(csv_folder.CsvFolder(tmp_path, "k").tables()) == [c.table for c in CONTRACTS]


def test_features_are_built_from_the_source_of_the_page(csv_folder: ModuleType, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    source = csv_folder.CsvFolder(write_chain(tmp_path / "incoming"), "k")
    assert ingest(source, lake, as_of=AS_OF).is_new
    assert not ingest(source, lake, as_of=AS_OF).is_new
    rows = build(lake, features_dir=tmp_path / "features", as_of=AS_OF).rows
    members = {"outlet_id": len(STORES), "ppg_id": len(GROUPS)}
    for view in VIEWS:
        entities = 1
        for key in view.entities:
            entities *= members[key]
        assert rows[view.name] == entities * WEEKS, view.name


def test_a_week_that_did_not_arrive_is_refused_by_name(csv_folder: ModuleType, tmp_path: Path) -> None:
    folder = write_chain(tmp_path / "incoming")
    sales = pd.read_csv(folder / "sales.csv")
    sales[~sales["receipt"].str.startswith("r-7-")].to_csv(folder / "sales.csv", index=False)
    lake = Lake(tmp_path / "lake")
    ingest(csv_folder.CsvFolder(folder, "k"), lake, as_of=AS_OF)
    with pytest.raises(EmptyWeekError, match="no line in week 7"):
        build(lake, features_dir=tmp_path / "features", as_of=AS_OF)


def test_a_missing_file_or_column_is_named_before_anything_is_taken_in(csv_folder: ModuleType, tmp_path: Path) -> None:
    folder = write_chain(tmp_path / "incoming")
    pd.read_csv(folder / "sales.csv").drop(columns="paid").to_csv(folder / "sales.csv", index=False)
    with pytest.raises(csv_folder.CsvFolderError, match=r"sales\.csv: missing column paid"):
        ingest(csv_folder.CsvFolder(folder, "k"), Lake(tmp_path / "lake"), as_of=AS_OF)
    (folder / "sales.csv").unlink()
    with pytest.raises(csv_folder.CsvFolderError, match=r"sales\.csv: no such file"):
        ingest(csv_folder.CsvFolder(folder, "k"), Lake(tmp_path / "lake"), as_of=AS_OF)
    assert not list((tmp_path / "lake").rglob("*.parquet"))


def test_a_source_that_forgets_a_column_of_the_contract_is_refused(
    csv_folder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_folder, "OUTLETS", csv_folder.OUTLETS.replace("has_plan AS is_managed, ", ""))
    source = csv_folder.CsvFolder(write_chain(tmp_path / "incoming"), "k")
    with pytest.raises(ContractError, match="table outlets: missing column is_managed"):
        ingest(source, Lake(tmp_path / "lake"), as_of=AS_OF)


def test_a_correction_counts_from_its_own_created_at_on(csv_folder: ModuleType, tmp_path: Path) -> None:
    folder, lake = write_chain(tmp_path / "incoming"), Lake(tmp_path / "lake")
    ingest(csv_folder.CsvFolder(folder, "k"), lake, as_of=AS_OF)
    sales = pd.read_csv(folder / "sales.csv", dtype=str)
    corrected = line(16, "s1", "a1", pieces=7, arrived_at="2025-05-02T09:00:00-04:00")
    pd.concat([sales, pd.DataFrame([corrected])]).to_csv(folder / "sales.csv", index=False)
    later = AS_OF + timedelta(days=7)
    ingest(csv_folder.CsvFolder(folder, "k"), lake, as_of=later)

    def pieces(as_of: datetime) -> list[int]:
        lines = lake.read("pos_lines", as_of=as_of, only={"basket_id": ["r-16-s1-a1"]})
        return [int(quantity) for quantity in lines.to_pandas()["quantity"]]

    assert (pieces(AS_OF), pieces(later)) == ([2], [7])
