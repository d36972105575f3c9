"""POST /v1/plan answers what-if questions from the effect table at hand, refuses by name, and never fails."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import plan_routes
from serving.planner.recency import weeks_since_activation
from tests.unit.serving.planner.effect_rows import frame, made_up, none, row

OUTLETS = ("367", "406")
PPGS = ("m1-soft-drinks-0", "m1-soft-drinks-1")


def effects():
    """Two outlets and two ppgs that the online store knows too."""
    return frame(
        *(none(o, p) for o in OUTLETS for p in PPGS),
        *(row(o, p, "display", 5.0 + i) for i, (o, p) in enumerate((o, p) for o in OUTLETS for p in PPGS)),
        row("367", PPGS[0], "mailer", 4.0),
        row("406", PPGS[1], "price_cut_20", 2.0, evidence="thin"),
    )


@pytest.fixture
def table(settings):
    """The file that the service looks for."""
    settings.features_dir.mkdir(parents=True)
    path = settings.features_dir / "outlet_ppg_effects.parquet"
    effects().to_parquet(path)
    return path


@pytest.fixture
def client(app, serving, table):
    with serving(app) as running:
        yield running


def ask(client, *, status=200, **body):
    answer = client.post("/v1/plan", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_question_without_a_budget_spends_nothing(client):
    answer = ask(client)
    assert answer["lines"] == []
    assert answer["totals"]["cost_usd"] == 0
    assert answer["totals"]["budget_usd"] is None
    assert answer["not_run_reasons"] == {"no_budget": 4}


def test_an_answer_tells_every_line_its_totals_and_what_it_rests_on(client):
    answer = ask(client, rules={"budget_usd": 2.5, "max_activated_ppgs": 1}, limit=10)
    assert [(x["outlet_id"], x["ppg_id"], x["activation"]) for x in answer["lines"]] == [
        ("406", PPGS[1], "display"),
        ("367", PPGS[1], "display"),
    ]
    line, totals = answer["lines"][0], answer["totals"]
    assert line["incremental_margin_usd"] == {"estimate": 8.0, "low": 7.0, "high": 9.0}
    assert (line["cost_usd"], line["net_value_usd"], line["value_per_usd"]) == (1.0, 7.0, 7.0)
    assert line["why"].startswith("chosen: +3.0 transactions")
    assert (totals["cost_usd"], totals["left_usd"], totals["net_value_usd"], totals["is_proven"]) == (
        2.0,
        0.5,
        12.0,
        True,
    )
    assert totals["incremental_transactions"] == {"estimate": 6.0, "low": 4.0, "high": 8.0}
    assert answer["week_start"] == "2018-01-01"
    assert answer["assumptions"]["display_cost_usd"] == 1.0
    assert answer["policy"]["confidence"] == 0.95
    assert {x["reason"] for x in answer["not_run"]} == {"slots"}
    assert len(ask(client, rules={"budget_usd": 2.5}, limit=0)["lines"]) == 0


def test_a_question_about_some_outlets_concerns_only_them(client):
    answer = ask(client, rules={"budget_usd": 9}, outlet_ids=["406"])
    assert {x["outlet_id"] for x in answer["lines"] + answer["not_run"]} == {"406"}


@pytest.mark.parametrize(
    ("body", "where", "said"),
    [
        ({"outlet_ids": ["367", "nowhere"]}, "outlet_ids.1", "outlet 'nowhere' is not in the effect table"),
        ({"rules": {"budget_usd": 0.2, "must_run": [{"outlet_id": "367", "ppg_id": PPGS[0], "activation": "mailer"}]}}, "rules.budget_usd", "raise the budget by 0.30 USD"),
        ({"rules": {"budget_usd": 9, "must_run": [{"outlet_id": "406", "ppg_id": PPGS[0], "activation": "mailer"}]}}, "rules.must_run.0", "ask for one of: display"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_kept_are_a_422_that_says_what_to_relax(client, body, where, said):
    answer = ask(client, status=422, **body)
    assert answer["type"] == "urn:poplift:problem:infeasible-plan"
    assert answer["errors"][0]["where"] == where
    assert said in answer["errors"][0]["what"] + answer["errors"][0]["relax"]


@pytest.mark.parametrize(
    "body",
    [
        {"budget": 5}, {"rules": {"budget_usd": "5"}}, {"rules": {"budget_usd": -1}}, {"rules": {"max_displays": True}},
        {"limit": 1001}, {"outlet_ids": []}, {"outlet_ids": ["../x"]}, {"rules": {"must_run": [{}]}},
        {"rules": {"never_run": [{"mechanic": "coupon"}]}}, {"rules": {"exclusive_ppgs": [["one"]]}},
    ],
)  # fmt: skip
def test_a_question_outside_the_schema_is_a_422_in_the_form_of_every_problem(client, body):
    answer = ask(client, status=422, **body)
    assert answer["type"] == "urn:poplift:problem:invalid-request"
    assert answer["errors"][0]["where"].startswith("body.")


def test_the_holdout_of_the_served_release_is_planned_nothing_for(client, app, loaded, monkeypatch):
    a_quarter = replace(loaded, policy=loaded.policy.model_copy(update={"holdout_share": 0.25}))
    monkeypatch.setattr(app.state.service.current, "get", lambda: a_quarter)
    answer = ask(client, rules={"budget_usd": 9})
    assert {line["outlet_id"] for line in answer["lines"]} == {"367"}
    assert answer["not_run_reasons"] == {"holdout": 2}
    assert {line["outlet_id"] for line in answer["not_run"]} == {"406"}


def test_a_minimum_gap_is_judged_by_the_online_features(client, store):
    for (view, *key), values in store.rows.items():
        if view == "outlet_ppg_promotion":
            values["weeks_since_promotion"] = 1.0 if key[0] == "367" else 27.0
    answer = ask(client, rules={"budget_usd": 9, "minimum_gap_weeks": 2})
    assert {x["outlet_id"] for x in answer["lines"]} == {"406"}
    assert {x["reason"] for x in answer["not_run"]} == {"gap"}
    store.failure = ConnectionError("down")
    assert ask(client, status=503, rules={"budget_usd": 9, "minimum_gap_weeks": 2})["type"].endswith(
        "store-unavailable"
    )
    assert len(ask(client, rules={"budget_usd": 9})["lines"]) == 4


def test_an_activation_that_an_old_feature_would_not_show_is_not_assumed_away(store):
    now = datetime(2018, 1, 2, 5, tzinfo=UTC)
    pairs = [("367", PPGS[0]), ("nowhere", PPGS[0])]
    assert set(weeks_since_activation(store, pairs, business_time=now)) == {pairs[0]}
    store.events["outlet_ppg_promotion"] = np.datetime64("2017-12-20T05:00:00", "us")
    assert weeks_since_activation(store, pairs, business_time=now) == {}


def test_a_newer_effect_table_is_taken_over_with_the_release_poll(client, table):
    first = ask(client, rules={"budget_usd": 9})
    rows = effects()
    rows.loc[rows["activation"] == "display", ["incremental_margin_usd", "incremental_margin_usd_high"]] += [1.0, 2.0]
    rows.to_parquet(table.with_suffix(".new"))
    table.with_suffix(".new").replace(table)
    for _ in range(200):
        second = ask(client, rules={"budget_usd": 9})
        if second["effects_digest"] != first["effects_digest"]:
            break
        threading.Event().wait(0.02)
    assert second["totals"]["net_value_usd"] == pytest.approx(first["totals"]["net_value_usd"] + 4)


def test_without_an_effect_table_the_answer_says_what_to_do(app, serving):
    with serving(app) as bare:
        answer = ask(bare, status=503, rules={"budget_usd": 9})
        assert "run `poplift effects`" in answer["detail"]
        assert bare.get("/v1/recommendations/367").status_code == 200


def test_a_question_that_is_too_large_says_how_to_make_it_smaller(client, monkeypatch):
    monkeypatch.setattr(plan_routes, "MOST_ROWS", 3)
    assert "name fewer outlet_ids" in ask(client, status=422, rules={"budget_usd": 9})["detail"]
    monkeypatch.undo()
    monkeypatch.setattr(plan_routes, "MOST_PAIRS", 1)
    assert "name fewer outlet_ids" in ask(client, status=422, rules={"budget_usd": 9, "minimum_gap_weeks": 1})["detail"]
    assert ask(client, rules={"budget_usd": 9})["lines"]


def test_plans_are_made_one_after_the_other_and_nobody_waits_for_another(client):
    with plan_routes._planning:
        assert "try again" in ask(client, status=503, rules={"budget_usd": 9})["detail"]
    assert ask(client, rules={"budget_usd": 9})["lines"]


def test_a_body_above_the_limit_is_refused(client):
    answer = client.post(
        "/v1/plan", content=b"[" + b" " * (1024 * 1024) + b"]", headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413


IDS = st.sampled_from([*OUTLETS, *PPGS, "x", "", "é", None, 7])
NAMES = st.sampled_from(["display", "mailer", "display+mailer", "price_cut_20", "none", "billboard", 3])
LINE = st.fixed_dictionaries({}, optional={"outlet_id": IDS, "ppg_id": IDS, "activation": NAMES, "mechanic": NAMES})
NUMBERS = st.sampled_from([None, 0, 1, 2, 100, 101, -1, 0.5, 1e12, "1", True])
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "limit": NUMBERS,
        "outlet_ids": st.lists(IDS, max_size=3),
        "rules": st.fixed_dictionaries(
            {},
            optional={
                **dict.fromkeys(
                    (
                        "budget_usd",
                        "max_displays",
                        "max_mailers",
                        "max_activated_ppgs",
                        "minimum_gap_weeks",
                        "minimum_net_margin_usd",
                    ),
                    NUMBERS,
                ),
                "exclusive_ppgs": st.lists(st.lists(IDS, max_size=3), max_size=2),
                "must_run": st.lists(LINE, max_size=3),
                "never_run": st.lists(LINE, max_size=3),
            },
        ),
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES | st.recursive(st.none() | st.booleans() | st.text(max_size=5), st.lists, max_leaves=3))
def test_whatever_is_asked_the_answer_is_a_plan_or_a_problem(client, body):
    answer = client.post("/v1/plan", json=body)
    assert answer.status_code in {200, 422}, (body, answer.text)
    if answer.status_code == 422:
        assert answer.headers["content-type"] == "application/problem+json"
        return
    spent = sum(line["cost_usd"] for line in answer.json()["lines"])
    assert spent <= (body.get("rules", {}).get("budget_usd") or 0) + 1e-6


def test_the_route_is_in_the_openapi_document_with_its_problems(client):
    document = client.get("/openapi.json").json()
    responses = document["paths"]["/v1/plan"]["post"]["responses"]
    assert {"200", "413", "422", "503"} <= set(responses)
    assert "PlanRules" in json.dumps(document["components"])


def test_an_example_of_the_document_is_a_question_that_is_answered(client):
    assert ask(client, **plan_routes.EXAMPLE)["totals"]["cost_usd"] <= plan_routes.EXAMPLE["rules"]["budget_usd"]


def test_a_large_table_is_answered_within_its_bounds(client, table):
    made_up(2, outlets=400, ppgs=4).to_parquet(table)
    rules = {"budget_usd": 200, "max_displays": 1, "max_activated_ppgs": 2, "exclusive_ppgs": [["p0", "p1"]]}
    answer = ask(client, rules=rules)
    assert answer["totals"]["gap_share"] < 0.001
    assert len(answer["lines"]) == 100
    assert answer["totals"]["lines"] > 100


def test_an_answer_says_as_of_when_the_effects_are_and_old_ones_answer_nothing(client, app, table, settings):
    for days, status, note in ((10, 200, None), (50, 200, "the effects are 50 days old"), (90, 503, None)):
        fitted = settings.now() - timedelta(days=days)
        effects().assign(event_timestamp=fitted, created_timestamp=fitted).to_parquet(table)
        app.state.service.effects.refresh()
        answer = ask(client, status=status, rules={"budget_usd": 2.5})
        if status == 503:
            assert "run `poplift effects`" in answer["detail"]
        else:
            assert datetime.fromisoformat(answer["effects_fitted_at"]) == fitted
            assert str(answer["effects_note"]).startswith(str(note))
