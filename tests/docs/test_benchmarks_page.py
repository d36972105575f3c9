"""The page of benchmarks says what the results say that are kept beside it."""

import importlib
import json

import pytest

RESULT = {
    "name": "demand",
    "goal": "at least twice",
    "met": False,
    "columns": ["what", "ratio"],
    "rows": [["one row", "1.9"]],
    "machine": "2 cores",
}


@pytest.fixture
def page(monkeypatch, request):
    monkeypatch.syspath_prepend(request.config.rootpath / "benchmarks")
    return importlib.import_module("page")


def test_the_committed_page_is_that_of_the_committed_results(page, monkeypatch, tmp_path):
    committed = (page.HERE / "README.md").read_text()
    monkeypatch.setattr(page, "HERE", tmp_path)
    page.write_page()
    assert (tmp_path / "README.md").read_text() == committed


def test_a_result_shows_its_goal_its_machine_and_its_table_and_a_missing_one_its_command(page, monkeypatch, tmp_path):
    monkeypatch.setattr(page, "HERE", tmp_path)
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    (tmp_path / "demand.json").write_text(json.dumps(RESULT))
    page.write_page()
    text = (tmp_path / "README.md").read_text()
    assert (
        "Goal: at least twice. **Not met.**\nMeasured on 2 cores.\n\n| what | ratio |\n|---|---:|\n| one row | 1.9 |"
        in text
    )
    assert "`python benchmarks/planner.py` does it" in text
    assert "`python benchmarks/demand.py`" not in text
