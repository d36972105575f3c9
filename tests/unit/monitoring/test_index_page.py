"""The first page shows verdict, reasons, ages and reports, and cannot be broken by what it shows."""

from datetime import UTC, datetime, timedelta

import pytest

from monitoring.freshness import FreshnessRow
from monitoring.index_page import HEADLINES, Link, list_report, write_index
from monitoring.verdict import Figure, Verdict
from tests.page import Page

NOW = datetime(2018, 1, 2, 5, tzinfo=UTC)


def row(view, state):
    age = None if state == "empty" else timedelta(days=9)
    newest = None if age is None else NOW - age
    return FreshnessRow(view, "online", newest, age, timedelta(days=8), timedelta(days=21), state)


def page(folder, status="warn", reasons=("ppg_trend is old.",), rows=(), links=()):
    figure = Figure("bias", "Bias of the total", 0.02, "+2.0%", "promised +1.0%", "ok")
    path = write_index(
        folder,
        verdict=Verdict(status, reasons, (figure,)),
        freshness=rows,
        links=links,
        as_of=NOW,
        written_at=NOW,
    )
    return Page(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("status", sorted(HEADLINES))
def test_the_headline_the_reasons_and_the_figures_are_on_the_page(tmp_path, status):
    shown = page(tmp_path, status)
    assert HEADLINES[status][1] in shown.texts
    assert "ppg_trend is old." in shown.texts
    assert "+2.0%" in shown.texts


def test_every_view_is_listed_with_its_state_in_words(tmp_path):
    shown = page(tmp_path, rows=[row("outlet_trend", "soft"), row("ppg_trend", "empty")])
    assert {"outlet_trend", "ageing", "9 days", "ppg_trend", "empty"} <= set(shown.texts)


def test_a_report_that_is_not_there_is_listed_without_a_dead_link(tmp_path):
    (tmp_path / "drift.html").write_text("drift")
    links = [
        Link("Drift", "drift.html", "inputs"),
        Link("Model", "model.html", "scores"),
        Link("MLflow", "http://127.0.0.1:5000", "runs"),
    ]
    shown = page(tmp_path, links=links)
    assert shown.hrefs == ["drift.html", "http://127.0.0.1:5000"]
    assert "Not written yet." in shown.texts
    assert "scores" in shown.texts  # what it would say, and how it is made


def test_text_from_data_cannot_become_markup(tmp_path):
    reason = "<script>alert('x')</script> & co"
    assert reason in page(tmp_path, reasons=(reason,)).texts


def test_the_page_needs_nothing_from_outside(tmp_path):
    assert page(tmp_path).hrefs == []


def test_a_report_that_is_written_later_becomes_a_link_and_the_others_stay(tmp_path):
    links = [Link("Plan", "plan.html", "What runs. poplift plan writes it."), Link("Loop", "loop.html", "A year.")]
    assert page(tmp_path, links=links).hrefs == []
    list_report(tmp_path, "plan.html")
    found = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert found.hrefs == ["plan.html"]
    assert found.texts.count("Not written yet.") == 1
    assert {"Plan", "What runs. poplift plan writes it.", "Loop"} <= set(found.texts)


def test_a_report_is_written_before_there_is_an_index_and_none_is_made(tmp_path):
    list_report(tmp_path, "plan.html")
    assert list(tmp_path.iterdir()) == []
