"""How studies judge figures and keep answers."""

from dataclasses import replace
from math import nan
from pathlib import Path

import pytest

from flows.studies.catalog import STUDIES, StudyError, run_study
from flows.studies.page import write_page
from flows.studies.study import (
    Answers,
    Figure,
    Study,
    at_least,
    at_most,
    at_most_rate,
    covers,
    mean_figure,
    rate_figure,
    within,
)


def answer(study_id: str, *figures: Figure) -> Study:
    return Study(study_id, "a title", "a question?", figures, seed=1, runs=3)


@pytest.mark.parametrize(("hits", "met"), [(190, True), (150, False), (200, False)])
def test_a_coverage_is_met_when_its_interval_holds_the_nominal_rate(hits: int, met: bool) -> None:
    assert covers(rate_figure("coverage", hits, 200), 0.95).is_met is met


@pytest.mark.parametrize(("hits", "met"), [(0, True), (12, True), (40, False)])
def test_a_false_positive_rate_is_met_when_its_lower_end_is_at_most_the_nominal_one(hits: int, met: bool) -> None:
    assert at_most_rate(rate_figure("false positives", hits, 200), 0.05).is_met is met


def test_figures_that_must_be_large_or_small_are_judged_by_the_near_end_of_their_interval() -> None:
    figure = Figure("gain", 0.5, 0.39, 0.61)
    assert not at_least(figure, 0.4, said="40 %").is_met
    assert at_least(figure, 0.38, said="38 %").is_met
    assert not at_most(figure, 0.6, said="60 %").is_met
    assert within(Figure("bias", -0.05), 0.05).is_met
    assert not within(Figure("bias", -0.06), 0.05).is_met


def test_a_mean_of_runs_has_an_interval_and_one_run_has_none() -> None:
    assert mean_figure("x", [1.0, 2.0, 3.0]).low < 2 < mean_figure("x", [1.0, 2.0, 3.0]).high
    assert mean_figure("x", [2.0]).low != mean_figure("x", [2.0]).low


def test_answers_are_kept_by_id_in_order_and_a_new_one_takes_the_place_of_the_old(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "science.json")
    assert answers.all() == []
    answers.keep(answer("S10", Figure("a", 1.0)))
    answers.keep(answer("S2", Figure("b", 2.0, 1.0, 3.0, is_met=False)))
    answers.keep(answer("S2", Figure("b", 2.5, 2.0, 3.0, is_met=True)))
    found = [(s.id, s.figures[0].value, s.state) for s in answers.all()]
    assert found == [("S2", 2.5, "reached"), ("S10", 1.0, "reached")]


def test_a_study_of_one_run_says_that_it_takes_more_to_judge(tmp_path: Path) -> None:
    one = at_least(mean_figure("gain", [9.0], unit="%"), 0.4, said="40 %")
    assert one.is_met is None
    write_page([answer("S3", one), answer("S4", one, replace(one, is_met=False))], tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| S3 | a question? | **more runs needed** | 3 |" in page
    assert "| S4 | a question? | **not reached** | 3 |" in page
    assert "| gain | 900.0% |  | at least 40 % | more runs needed |" in page


def test_the_page_says_what_was_not_reached(tmp_path: Path) -> None:
    page = tmp_path / "science.md"
    figures = (Figure("bias", 0.2, 0.1, 0.3, "%", "within ±5%", is_met=False), Figure("mean", nan))
    write_page([answer("S2", *figures)], page)
    text = page.read_text()
    assert "| S2 | a question? | **not reached** | 3 |" in text
    assert "| bias | 20.0% | 10.0% to 30.0% | within ±5% | not reached |" in text
    assert "`poplift study S2 --seed 1 --runs 3`" in text


def test_a_study_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(StudyError, match=r"'S99' is not a study; choose one of: S0, S2, "):
        run_study("S99", seed=1)


def test_every_study_has_a_module_to_run() -> None:
    import importlib

    assert all(callable(importlib.import_module(f"flows.studies.{module}").run) for module, _ in STUDIES.values())


def test_every_study_has_a_quick_version_that_the_quick_tests_run() -> None:
    science = Path(__file__).parents[3] / "science"
    assert {module for module, _ in STUDIES.values()} <= {p.stem.removeprefix("test_") for p in science.glob("test_*")}
    assert all("pytestmark = pytest.mark.science" in p.read_text() for p in science.glob("test_*.py"))
