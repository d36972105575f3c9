"""The page shows whole outlets, so that its sums are those of the outlets it names."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from serving.planner import publish
from serving.planner.effects import from_frame
from serving.planner.explain import Explained
from serving.planner.rules import PlanRules
from serving.planner.summary import summary_of
from serving.planner.week import plan_week
from tests.unit.serving.planner.effect_rows import frame, none, row

OUTLETS = ("a", "b", "c")
PLAN = plan_week(
    from_frame(
        frame(
            *(r for o in OUTLETS for p in ("p", "q") for r in (none(o, p), row(o, p, "mailer", 3.0 + OUTLETS.index(o))))
        )
    ),
    PlanRules(budget_usd=100),
)


NOW = datetime(2018, 1, 2, 5, tzinfo=UTC)


def page_of(tmp_path, plan=PLAN):
    explained = Explained(plan)
    summary = summary_of(plan, explained)
    page = publish.write_page(plan, explained, summary, week_start=date(2018, 1, 1), now=NOW, into=tmp_path)
    return page.read_text()


@pytest.mark.parametrize(("days", "is_told"), [(42, False), (43, True)])
def test_the_page_says_as_of_when_the_effects_are_and_that_they_are_old(tmp_path, days, is_told):
    fitted = NOW - timedelta(days=days)
    page = page_of(tmp_path, replace(PLAN, table=replace(PLAN.table, fitted_at=fitted)))
    assert f"estimated as of {fitted.date()}" in page
    assert ("the effects are 43 days old" in page) == is_told


@pytest.mark.parametrize(("most", "outlets"), [(1, 1), (3, 1), (4, 2), (6, 3)])
def test_an_outlet_is_on_the_page_with_all_its_lines_or_not_at_all(tmp_path, monkeypatch, most, outlets):
    monkeypatch.setattr(publish, "MOST_SHOWN", most)
    page = page_of(tmp_path)
    assert len(re.findall(r"<h3>Outlet ", page)) == outlets
    assert len(re.findall(r'class="pill"', page)) == 2 * outlets
    assert re.findall(r"and (\d+) more lines", page) == ([str(6 - 2 * outlets)] if outlets < 3 else [])
