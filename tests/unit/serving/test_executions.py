"""POST /v1/executions: what became of a recommendation, once, and only of recommendations that were made."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from poplift.contracts.tables import contract
from poplift.lake import Lake
from serving.execution_routes import EXAMPLE, EXECUTIONS, ExecutionReport
from serving.executions_door import ExecutionsDoor

LOGGED_SECONDS = 30  # a moment, but for a disk that others keep busy


@pytest.fixture
def decision(client):
    """The id of a recommendation that was served just now."""
    return client.get("/v1/recommendations/367?limit=1").json()["recommendations"][0]["decision_id"]


def report(decision, execution="e1", **changes):
    return {
        "execution_id": execution,
        "decision_id": decision,
        "outcome": "executed",
        "reported_at": "2018-01-01T10:00:00-05:00",
    } | changes


def post(client, *reports):
    return client.post("/v1/executions", json=list(reports))


def counts(answer):
    return answer["accepted"], answer["duplicates"], [(q["row"], q["column"], q["rule"]) for q in answer["quarantined"]]


def rows(settings):
    lake = Lake(settings.lake_dir, threads=1)
    query = lake.query("executions", as_of=settings.now())
    return sorted(
        lake.connection.sql(f"SELECT execution_id, decision_id, outcome, activation FROM ({query})").fetchall()
    )


def quarantined(settings, execution):
    """What was kept of the refused reports with this id, one row for each rule that was broken."""
    lake = Lake(settings.lake_dir, threads=1)
    files = [str(part) for part in lake.parts("executions", folder="quarantine")]
    kept = [json.loads(row) for (row,) in lake.connection.sql(f"SELECT row FROM read_parquet({files})").fetchall()]
    return [row for row in kept if row.get("execution_id") == execution]


def settled(client, decision):
    """The log is written by a thread: a report of a decision made just now is taken within moments."""
    ends = time.monotonic() + LOGGED_SECONDS
    while True:
        answer = post(client, report(decision, "first"))
        assert answer.status_code == 202, answer.text
        if answer.json()["accepted"] or answer.json()["duplicates"]:
            return
        assert time.monotonic() < ends, f"the decision was not in the log within {LOGGED_SECONDS} s"
        time.sleep(0.02)


def test_a_report_of_a_served_recommendation_is_in_the_lake_when_the_answer_comes(client, settings, decision):
    settled(client, decision)
    answer = post(client, report(decision, "e2", outcome="shown"), report(decision, "e3", activation="display+mailer"))
    assert answer.status_code == 202
    assert counts(answer.json()) == (2, 0, [])
    assert rows(settings) == [
        ("e2", decision, "shown", None),
        ("e3", decision, "executed", "display+mailer"),
        ("first", decision, "executed", None),
    ]


def test_a_report_sent_again_counts_once_and_a_changed_one_is_a_conflict(client, settings, decision):
    settled(client, decision)
    again = post(
        client,
        report(decision, "first"),
        report(decision, "e2"),
        report(decision, "e2", reported_at="2018-01-01T15:00:00+00:00"),
        report(decision, "e2", outcome="refused"),
    ).json()
    assert counts(again) == (1, 2, [(3, "execution_id", "conflict")])
    assert len(rows(settings)) == 2


def test_a_report_of_a_decision_that_nobody_made_is_quarantined_and_said_and_kept_once(client, settings, decision):
    settled(client, decision)
    for _ in range(3):
        answer = post(client, report("nobody", "e9"), report(decision, "e2"))
        assert answer.status_code == 202
        assert counts(answer.json())[2] == [(0, "decision_id", "unknown")]
    kept = quarantined(settings, "e9")
    assert [row["decision_id"] for row in kept] == ["nobody"]


def test_a_report_without_an_id_is_kept_and_keeps_none_out_of_quarantine_that_comes_later(settings):
    door = ExecutionsDoor(settings)
    for decision, execution in (("one", None), ("two", None), ("three", "e9")):
        assert door.receive([report(decision, execution, reported_at=settings.now())]).accepted == 0
    assert {row["decision_id"] for row in quarantined(settings, None)} == {"one", "two"}
    assert [row["decision_id"] for row in quarantined(settings, "e9")] == ["three"]


def test_before_any_decision_was_made_reports_are_quarantined_not_an_error(client):
    assert counts(post(client, report("nobody")).json()) == (0, 0, [(0, "decision_id", "unknown")])


def test_a_report_of_the_future_is_quarantined(client, decision):
    settled(client, decision)
    late = report(decision, "e2", reported_at="2018-01-02T05:06:00+00:00")
    assert counts(post(client, late).json()) == (0, 0, [(0, "reported_at", "future")])


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"outcome": "done"}, "body.0.outcome"),
        ({"execution_id": ""}, "body.0.execution_id"),
        ({"execution_id": "x" * 201}, "body.0.execution_id"),
        ({"decision_id": 7}, "body.0.decision_id"),
        ({"activation": "banner"}, "body.0.activation"),
        ({"reported_at": "2018-01-01T10:00:00"}, "body.0.reported_at"),
        ({"reported_at": 1484049600}, "body.0.reported_at"),
        ({"who": "J. Doe"}, "body.0.who"),
    ],
)
def test_a_report_of_another_shape_is_a_422_with_its_place(client, change, where):
    answer = post(client, report("d1", **change))
    assert answer.status_code == 422
    assert [e["where"] for e in answer.json()["errors"]] == [where]
    assert "J. Doe" not in answer.text


@pytest.mark.parametrize("body", ["[]", "{}", "nothing", json.dumps([1] * 1001)])
def test_a_body_that_is_no_list_of_1_to_1000_reports_is_a_422(client, body):
    answer = client.post("/v1/executions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422


def test_the_same_report_from_many_at_once_counts_once(client, settings, decision):
    settled(client, decision)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(client, report(decision, "e2")).json(), range(16)))
    assert sum(a["accepted"] for a in answers) == 1
    assert sum(a["duplicates"] for a in answers) == 15
    assert len(rows(settings)) == 2


def test_a_lake_that_cannot_be_written_is_a_503_that_does_not_tell_where_it_lies(client, settings):
    settings.lake_dir.mkdir(parents=True, exist_ok=True)
    (settings.lake_dir / "executions").write_text("in the way")
    answer = post(client, report("d1"))
    assert answer.status_code == 503
    assert str(settings.home) not in answer.text


def test_the_schema_is_that_of_the_contract():
    sent = [c for c in EXECUTIONS.column_names if c != "created_at"]
    assert list(ExecutionReport.model_fields) == sent
    for name, field in ExecutionReport.model_fields.items():
        assert field.is_required() == (not contract("executions").column(name).nullable), name
        assert field.description == EXECUTIONS.column(name).description
    example = ExecutionReport.model_validate(EXAMPLE)
    assert isinstance(example.reported_at, datetime)
    outcomes = ExecutionReport.model_json_schema()["properties"]["outcome"]["enum"]
    assert tuple(outcomes) == EXECUTIONS.column("outcome").allowed
