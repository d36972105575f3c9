"""What each route answers when features are too old, missing or cannot be read: declared in the release's policy."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from feature_repo.catalog import BATCH_FEATURES, VIEWS
from poplift.activation import NONE
from poplift.assignment import is_held_out
from serving.app import create_app
from serving.current import activate
from serving.online import coming_week_start_day, model_inputs
from serving.policy import NOT_USABLE, Degradation
from serving.release import build
from serving.scoring import score_inputs

NOW = datetime(2018, 1, 2, 5, tzinfo=UTC)
PPG = "m1-soft-drinks-3"
DEMAND = {"rows": [{"outlet_id": "367", "ppg_id": PPG}]}
UNAVAILABLE = [f"unavailable:{view.name}" for view in VIEWS]
PATH = "/v1/recommendations/367?limit=100"


def names(answer):
    return {item["recommended"]["activation_name"] for item in answer["recommendations"]}


@pytest.fixture
def serve_with(settings, policy, store, serving, request):
    """Serves a release whose policy says this about degradation."""

    def start(exploration_share=0.0, **said):
        own = policy.model_copy(
            update={"degradation": Degradation(**said), "exploration_share": exploration_share, "holdout_share": 0.0}
        )
        model_folder, golden = map(request.getfixturevalue, ("model_folder", "golden"))
        built = build(model_folder, releases_dir=settings.releases_dir, policy=own, golden=golden, versions={})
        activate(built.id, releases_dir=settings.releases_dir)
        return serving(create_app(settings, reader=store))

    return start


def test_without_the_store_nothing_is_spent_and_the_answer_says_so(client, store):
    assert names(client.get(PATH).json()) != {"none"}
    store.failure = ConnectionError("secret-host:6379 refused")
    response = client.get(PATH)
    answer = response.json()
    assert response.status_code == 200
    assert answer["degraded"]
    assert names(answer) == {"none"}
    assert len(answer["recommendations"]) == 27
    for item in answer["recommendations"]:
        assert item["degraded"]
        assert item["flags"] == UNAVAILABLE
        assert item["abstained_because"] == NOT_USABLE
        assert item["propensity"] == 1.0
    assert {age["age_hours"] for age in answer["feature_ages"]} == {None}
    assert "secret-host" not in response.text


def test_without_the_store_demand_is_what_the_model_expects_of_the_releases_defaults(client, store, loaded):
    store.failure = ConnectionError("gone")
    (row,) = client.post("/v1/demand", json=DEMAND).json()["rows"]
    assert row["degraded"]
    assert row["flags"] == UNAVAILABLE
    cells = np.array([[loaded.defaults[name] for name in BATCH_FEATURES]])
    expected = score_inputs(loaded, model_inputs(cells, [NONE], week_start_day=coming_week_start_day(NOW)))
    assert row["transactions"] == expected.transactions[0]


def test_a_route_that_is_declared_to_refuse_answers_503_without_a_trace_and_recovers(serve_with, store):
    with serve_with(demand="refuse", recommendations="refuse") as client:
        assert client.get("/readyz").json()["status"] == "ready"
        store.failure = ConnectionError("secret-host:6379 refused")
        for response in (client.get(PATH), client.post("/v1/demand", json=DEMAND), client.get("/readyz")):
            assert response.status_code == 503
            assert response.headers["content-type"] == "application/problem+json"
            assert "secret-host" not in response.text
            assert "Retry-After" in response.headers
        assert client.get("/healthz").status_code == 200
        assert "poplift_online_store_failures_total 2.0" in client.get("/metrics").text


def test_one_route_may_refuse_while_the_other_answers(serve_with, store):
    with serve_with(recommendations="refuse") as client:
        store.failure = ConnectionError("gone")
        assert client.get(PATH).status_code == 503
        assert client.post("/v1/demand", json=DEMAND).json()["degraded"]


def test_a_store_that_was_there_and_is_gone_leaves_the_service_degraded_not_unready(client, store):
    assert client.get("/readyz").json()["status"] == "ready"
    store.failure = ConnectionError("gone")
    assert client.get("/readyz").json()["status"] == "degraded"


def test_a_store_that_never_answered_is_not_ready(app, serving, store):
    store.failure = ConnectionError("gone")
    with serving(app) as client:
        assert client.get("/readyz").status_code == 503
        assert client.get(PATH).json()["degraded"]


def test_an_emptied_store_is_not_taken_for_outlets_that_nobody_knows(client, store):
    kept = dict(store.rows)
    store.rows.clear()
    assert client.get("/readyz").status_code == 503
    answer = client.get(PATH).json()
    assert answer["degraded"]
    assert names(answer) == {"none"}
    assert client.post("/v1/demand", json=DEMAND).json()["rows"][0]["flags"] == UNAVAILABLE
    store.rows.update(kept)
    assert client.get("/v1/recommendations/nowhere").status_code == 404


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: v.name)
def test_past_its_hard_age_no_view_has_money_spent_on_its_defaults(client, store, view):
    store.events[view.name] = np.datetime64("2017-12-01T05:00:00", "us")
    answer = client.get(PATH).json()
    assert names(answer) == {"none"}
    assert {tuple(item["flags"]) for item in answer["recommendations"]} == {(f"expired:{view.name}",)}
    assert client.post("/v1/demand", json=DEMAND).json()["rows"][0]["degraded"]


def test_past_its_soft_age_a_view_is_flagged_and_used(client, store):
    store.events["ppg_trend"] = np.datetime64("2017-12-20T05:00:00", "us")
    answer = client.get(PATH).json()
    assert not answer["degraded"]
    assert names(answer) != {"none"}


def test_a_view_may_be_declared_as_one_that_choices_do_not_need(serve_with, store):
    with serve_with(spend_without=("outlet_trend",)) as client:
        store.events["outlet_trend"] = np.datetime64("2017-12-01T05:00:00", "us")
        answer = client.get(PATH).json()
        assert answer["degraded"]
        assert names(answer) != {"none"}
        store.events["ppg_trend"] = np.datetime64("2017-12-01T05:00:00", "us")
        assert names(client.get(PATH).json()) == {"none"}


def test_nothing_is_drawn_at_random_on_features_that_cannot_be_used(serve_with, store):
    assert not is_held_out("367")
    with serve_with(exploration_share=0.2) as client:
        assert {item["arm"] for item in client.get(PATH).json()["recommendations"]} == {"policy", "explored"}
        store.failure = ConnectionError("gone")
        answer = client.get(PATH).json()
        assert {item["arm"] for item in answer["recommendations"]} == {"policy"}
        assert names(answer) == {"none"}


def test_degraded_decisions_are_logged_as_such(app, serving, store, settings):
    with serving(app) as client:
        store.failure = ConnectionError("gone")
        served = {item["decision_id"] for item in client.get(PATH).json()["recommendations"]}
    files = settings.decisions_dir.glob("*.jsonl")
    logged = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert {row["decision_id"] for row in logged} == served
    assert {(row["degraded"], tuple(row["flags"]), row["propensity"]) for row in logged} == {
        (True, tuple(UNAVAILABLE), 1.0)
    }
