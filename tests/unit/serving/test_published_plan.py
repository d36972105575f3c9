"""GET /v1/plan tells the published plan page by page, tells nothing twice, and never mixes two plans."""

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.planner.effects import from_frame
from serving.planner.explain import Explained
from serving.planner.publish import write_table
from serving.planner.published import Cursor, CursorError
from serving.planner.rules import PlanRules
from serving.planner.summary import summary_of
from serving.planner.week import plan_week
from tests.unit.serving.planner.effect_rows import frame, none, row

OUTLETS = tuple(f"o{n}" for n in range(5))


def publish(folder, *, budget=100.0, gain=3.0, week=date(2018, 1, 1)):
    """As `poplift plan` does: the plan's table and the pointer to it; returns the summary too."""
    rows = (r for o in OUTLETS for p in ("p", "q") for r in (none(o, p), row(o, p, "mailer", gain)))
    plan = plan_week(from_frame(frame(*rows)), PlanRules(budget_usd=budget))
    explained = Explained(plan)
    summary = summary_of(plan, explained)
    return write_table(plan, explained, summary, week_start=week, into=folder), summary


@pytest.fixture
def published(settings):
    return publish(settings.plans_dir)


def pages(client, **given):
    """Every page from the first, following the cursors."""
    answers = [client.get("/v1/plan", params=given).json()]
    while cursor := answers[-1]["next_cursor"]:
        answers.append(client.get("/v1/plan", params=given | {"cursor": cursor}).json())
    return answers


def keys(answers):
    return [(line["outlet_id"], line["ppg_id"]) for answer in answers for line in answer["lines"]]


def test_the_plan_is_told_as_it_was_left(client, published):
    _, summary = published
    answer = client.get("/v1/plan").json()
    assert answer["week_start"] == "2018-01-01"
    assert answer["totals"]["lines"] == summary.lines == len(answer["lines"]) == 10
    assert answer["totals"]["cost_usd"] == summary.cost_usd
    assert answer["totals"]["incremental_margin_usd"] == dict(
        zip(("estimate", "low", "high"), summary.incremental_margin_usd, strict=True)
    )
    assert answer["rules"]["budget_usd"] == 100
    assert answer["effects_digest"] == summary.effects_digest
    line = answer["lines"][0]
    assert (line["runs"], line["activation"], line["reason"]) == (True, "mailer", "runs")
    assert answer["next_cursor"] is None


@pytest.mark.parametrize("limit", [1, 3, 4, 10, 1000])
def test_the_pages_together_are_the_plan_each_line_once(client, published, limit):
    answers = pages(client, limit=limit)
    assert keys(answers) == sorted((o, p) for o in OUTLETS for p in ("p", "q"))
    assert len(answers) == -(-10 // limit)
    assert all(len(answer["lines"]) <= limit for answer in answers)


def test_lines_that_do_not_run_and_one_outlet_can_be_asked_for(client, settings):
    publish(settings.plans_dir, budget=1.2)
    ran, every = keys(pages(client, limit=2)), keys(pages(client, limit=2, include_not_run=True))
    assert 0 < len(ran) < len(every) == 10
    assert keys(pages(client, limit=1, include_not_run=True, outlet_id="o3")) == [("o3", "p"), ("o3", "q")]
    assert pages(client, outlet_id="nowhere")[0]["lines"] == []


def test_a_client_that_has_the_plan_is_told_so_and_nothing_more(client, published, settings):
    first = client.get("/v1/plan")
    etag = first.headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = client.get("/v1/plan", headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag)
    for unknown in ('"other"', etag.strip('"'), ""):
        assert client.get("/v1/plan", headers={"If-None-Match": unknown}).status_code == 200
    publish(settings.plans_dir, gain=4.0)
    newer = client.get("/v1/plan", headers={"If-None-Match": etag})
    assert newer.status_code == 200
    assert newer.headers["ETag"] != etag


def test_the_pages_of_a_plan_go_on_in_it_when_a_newer_one_is_published(client, published, settings):
    first = client.get("/v1/plan", params={"limit": 6}).json()
    publish(settings.plans_dir, gain=4.0)
    second = client.get("/v1/plan", params={"limit": 6, "cursor": first["next_cursor"]}).json()
    assert second["plan_id"] == first["plan_id"]
    assert second["totals"] == first["totals"]
    assert len(keys([first, second])) == len(set(keys([first, second]))) == 10
    assert client.get("/v1/plan").json()["plan_id"] != first["plan_id"]


def test_without_a_plan_the_answer_says_how_to_make_one(client):
    answer = client.get("/v1/plan")
    assert answer.status_code == 404
    assert "poplift plan" in answer.json()["detail"]


@pytest.mark.parametrize(
    "cursor", ["", "x", "%00", "../../etc/passwd", "MjAxOC0wMS0wMS0uLi8uLi8uLi8uLi8uLi8", "ä", "a" * 200, "MQ"]
)
def test_what_is_no_cursor_is_a_422(client, published, cursor):
    answer = client.get("/v1/plan", params={"cursor": cursor})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_cursor_of_a_plan_that_is_gone_is_a_404(client, published):
    answer = client.get("/v1/plan", params={"cursor": str(Cursor("2018-01-01-000000000000", 1))})
    assert answer.status_code == 404
    assert "without a cursor" in answer.json()["detail"]


@given(st.text(max_size=60))
def test_no_text_is_a_cursor_to_a_file(text):
    try:
        cursor = Cursor.parse(text)
    except CursorError:
        return
    assert Cursor.parse(str(cursor)) == cursor
    assert "/" not in cursor.plan_id


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", '{"file": 1}', '{"file": "../../etc/passwd"}', '{"file": "week=2018-01-01/plan-x.parquet"}'],
)
def test_a_damaged_pointer_is_a_503_and_no_other_file_is_opened(client, settings, content):
    settings.plans_dir.mkdir(parents=True)
    (settings.plans_dir / "latest.json").write_text(content)
    assert client.get("/v1/plan").status_code == 503


def test_a_table_that_is_not_what_was_published_is_a_503(client, published):
    path, _ = published
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert client.get("/v1/plan").status_code == 503
    assert str(path) not in client.get("/v1/plan").text


def test_the_pointer_and_the_answer_name_the_same_plan(client, published, settings):
    pointer = json.loads((settings.plans_dir / "latest.json").read_text())
    digest = client.get("/v1/plan").json()["plan_id"].rpartition("-")[2]
    assert pointer["file"].endswith(f"plan-{digest}.parquet")
