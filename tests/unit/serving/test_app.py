"""The product routes answer with everything a caller needs to trust and trace them."""

import gc
import json
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from poplift.settings import Settings
from serving.app import create_app
from serving.service import Limits

PPG = "m1-soft-drinks-3"


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Every decision row on disk."""
    return [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]


def test_a_recommendation_names_its_release_its_ages_its_basis_and_its_decisions(
    client: httpx.Client,
) -> None:
    response = client.get("/v1/recommendations/367?limit=5", headers={"X-Request-ID": "abc-1"})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert response.headers["X-Request-ID"] == answer["request_id"] == "abc-1"
    assert answer["release"]["model_version"] == "1"
    assert answer["week_start"] == "2018-01-01"
    assert answer["basis"] == "predictive"
    assert "not a measured lift" in answer["basis_note"]
    assert {age["view"]: age["age_hours"] for age in answer["feature_ages"]}["outlet_trend"] == 24.0
    assert not answer["degraded"]
    assert answer["assumptions"]["note"].startswith("Declared, not measured")
    assert len(answer["recommendations"]) == 5
    assert len({item["decision_id"] for item in answer["recommendations"]}) == 5
    for item in answer["recommendations"]:
        assert item["reasons"][0]["text"]
        names = [candidate["activation_name"] for candidate in item["candidates"]]
        assert "none" in names
        assert item["recommended"]["activation_name"] in names
    gains = [item["recommended"]["net_gain"] for item in answer["recommendations"]]
    assert gains == sorted(gains, reverse=True)


def test_demand_is_answered_in_the_order_asked_and_a_plan_changes_it(client: httpx.Client) -> None:
    plain = {"outlet_id": "367", "ppg_id": PPG}
    rows = [
        plain,
        plain | {"activation": {"display": True, "mailer": True, "price_cut": 0.3}},
        plain | {"outlet_id": "406"},
    ]
    answer = client.post("/v1/demand", json={"rows": rows}).json()
    outlets = [row["outlet_id"] for row in answer["rows"]]
    assert outlets == ["367", "367", "406"]
    assert [row["activation_name"] for row in answer["rows"]] == [
        "none",
        "display+mailer+price_cut_30",
        "none",
    ]
    assert answer["rows"][1]["transactions"] > answer["rows"][0]["transactions"]
    assert answer["rows"][1]["price_usd"] == pytest.approx(0.7 * answer["rows"][0]["price_usd"])
    for row in answer["rows"]:
        assert row["transactions_low"] <= row["transactions_high"]
        assert row["transactions_low"] == int(row["transactions_low"])


def test_the_order_of_the_ppgs_asked_for_does_not_change_the_answer(client: httpx.Client) -> None:
    ppgs = [f"m1-soft-drinks-{n}" for n in range(8)]
    shuffled = [ppgs[n] for n in (5, 2, 7, 0, 3, 6, 1, 4)]
    answers = [
        client.post("/v1/recommendations", json={"outlet_id": "367", "ppg_ids": asked}).json()
        for asked in (ppgs, shuffled)
    ]
    ids = [[r.pop("decision_id") for r in a["recommendations"]] for a in answers]
    assert not set(ids[0]) & set(ids[1])
    assert answers[0]["recommendations"] == answers[1]["recommendations"]


def test_answers_given_at_the_same_time_are_those_given_alone(client: httpx.Client) -> None:
    asked = [{"rows": [{"outlet_id": "367", "ppg_id": f"m1-soft-drinks-{n}"}]} for n in range(16)]

    def ask(body: dict[str, Any]) -> float:
        return float(client.post("/v1/demand", json=body).json()["rows"][0]["transactions"])

    alone = [ask(body) for body in asked]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, asked * 3))
    assert together == alone * 3


def test_a_demand_row_and_the_same_candidate_of_a_recommendation_have_the_same_numbers(
    client: httpx.Client,
) -> None:
    asked = {"outlet_id": "367", "ppg_ids": [PPG]}
    candidate = client.post("/v1/recommendations", json=asked).json()["recommendations"][0]["candidates"][1]
    row = {"outlet_id": "367", "ppg_id": PPG, "activation": candidate["activation"]}
    demand = client.post("/v1/demand", json={"rows": [row]}).json()["rows"][0]
    assert {k: demand[k] for k in ("transactions", "units", "price_usd")} == {
        k: candidate[k] for k in ("transactions", "units", "price_usd")
    }


def test_what_is_not_known_is_a_404_that_says_which(client: httpx.Client) -> None:
    outlet = client.get("/v1/recommendations/99999")
    assert outlet.status_code == 404
    assert "'99999'" in outlet.json()["detail"]
    assert "m1-soft-drinks" not in outlet.json()["detail"]
    assert len(outlet.json()["errors"]) == 1
    ppg = client.post("/v1/recommendations", json={"outlet_id": "367", "ppg_ids": [PPG, "nope"]})
    twice = client.post("/v1/recommendations", json={"outlet_id": "367", "ppg_ids": [PPG, PPG]}).json()
    assert len(twice["recommendations"]) == 1
    assert ppg.status_code == 404
    assert ppg.json()["detail"] == "ppg 'nope' is not in the feature store"
    rows = [{"outlet_id": "367", "ppg_id": PPG}, {"outlet_id": "nowhere", "ppg_id": PPG}]
    demand = client.post("/v1/demand", json={"rows": rows})
    assert demand.status_code == 404
    assert demand.json()["errors"] == [{"where": "row 1", "what": "outlet 'nowhere' is not in the feature store"}]


def test_a_ppg_without_history_at_the_outlet_is_listed_not_recommended(client: httpx.Client, store: Any) -> None:
    for key in [key for key in store.rows if key[1:] == ("367", PPG)]:
        del store.rows[key]
    answer = client.get("/v1/recommendations/367?limit=100").json()
    assert [item["ppg_id"] for item in answer["not_decided"]] == [PPG]
    assert PPG not in {item["ppg_id"] for item in answer["recommendations"]}
    assert len(answer["recommendations"]) == 26


def test_soft_age_is_flagged_and_hard_age_is_degraded(client: httpx.Client, store: Any) -> None:
    store.events["ppg_trend"] = np.datetime64("2017-12-20T05:00:00", "us")
    stale = client.get("/v1/recommendations/367?limit=1").json()
    assert stale["recommendations"][0]["flags"] == ["stale:ppg_trend"]
    assert not stale["degraded"]
    store.events["ppg_trend"] = np.datetime64("2017-12-01T05:00:00", "us")
    expired = client.get("/v1/recommendations/367?limit=1").json()
    assert expired["recommendations"][0]["flags"] == ["expired:ppg_trend"]
    assert expired["degraded"]
    assert expired["recommendations"][0]["degraded"]


def test_a_store_that_hangs_costs_the_deadline_and_not_the_service(
    settings: Settings, active: Any, store: Any, serving: Any
) -> None:
    release_it = threading.Event()
    limits = Limits(read_deadline=timedelta(seconds=0.1), read_workers=1)
    with serving(create_app(settings, reader=store, limits=limits)) as client:
        store.hang = release_it.wait
        try:
            began = time.perf_counter()
            assert client.get("/v1/recommendations/367").json()["degraded"]
            assert time.perf_counter() - began < 1
            assert client.get("/healthz").status_code == 200
        finally:
            store.hang = None
            release_it.set()


def test_whoever_opens_the_address_is_shown_what_can_be_asked(client: httpx.Client) -> None:
    assert "text/html" in client.get("/", follow_redirects=True).headers["Content-Type"]
    assert client.get("/").headers["Location"] == "docs"


def test_an_empty_store_is_not_ready(client: httpx.Client, store: Any) -> None:
    store.rows.clear()
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "materialise" in response.json()["detail"]


def test_without_a_release_the_service_starts_and_says_what_to_do(settings: Settings, store: Any, serving: Any) -> None:
    with serving(create_app(settings, reader=store)) as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/readyz", "/v1/recommendations/367"):
            response = client.get(path)
            assert response.status_code == 503
            assert "no release was activated yet" in response.json()["detail"]


def test_every_served_row_is_in_the_decision_log_after_shutdown(app: FastAPI, settings: Settings, serving: Any) -> None:
    with serving(app) as client:
        served = [
            item["decision_id"]
            for _ in range(20)
            for item in client.get("/v1/recommendations/367").json()["recommendations"]
        ]
        demand = client.post(
            "/v1/demand",
            json={"rows": [{"outlet_id": "367", "ppg_id": PPG}] * 3},
            headers={"X-Request-ID": "r7"},
        ).json()
        served += [row["decision_id"] for row in demand["rows"]]
    logged = {row["decision_id"]: row for row in rows_of(settings.decisions_dir)}
    assert sorted(logged) == sorted(served)
    row = logged[demand["rows"][0]["decision_id"]]
    assert row["request_id"] == "r7"
    assert row["propensity"] == 1.0
    assert row["release_id"] == demand["release"]["id"]
    assert row["business_time"] == "2018-01-02T05:00:00+00:00"
    assert row["feature_age_hours"]["ppg_trend"] == 24.0
    assert row["kind"] == "demand"


def test_a_decision_that_waits_for_the_disk_takes_less_than_ten_kilobytes(
    app: FastAPI, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Any] = []
    monkeypatch.setattr(app.state.service.decisions, "append", waiting.extend)
    with serving(app) as client:
        client.get("/v1/recommendations/367")
        tracemalloc.start()
        waiting.clear()
        for _ in range(50):
            client.get("/v1/recommendations/367")
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(waiting) >= 50
    assert 3_000 < taken / len(waiting) < 10_000


def test_a_logged_feature_vector_gives_the_served_prediction_again(
    client: httpx.Client, app: FastAPI, settings: Settings, loaded: Any
) -> None:
    from serving.scoring import score

    served = client.get("/v1/recommendations/367?limit=3").json()["recommendations"]
    app.state.service.decisions.close()
    logged = {row["decision_id"]: row for row in rows_of(settings.decisions_dir)}
    assert len(served) == 3
    for item in served:
        vector = logged[item["decision_id"]]["features"]
        again = score(loaded, {name: np.array([value], dtype=np.float64) for name, value in vector.items()})
        assert again.transactions[0] == item["recommended"]["transactions"]


def test_more_requests_than_declared_are_refused_with_retry_after(
    settings: Settings, active: Any, store: Any, serving: Any
) -> None:
    going_on, release_it = threading.Event(), threading.Event()

    def hang() -> None:
        going_on.set()
        release_it.wait(5)

    with serving(create_app(settings, reader=store, limits=Limits(in_flight=1))) as client:
        store.hang = hang
        answers: list[httpx.Response] = []
        first = threading.Thread(target=lambda: answers.append(client.get("/v1/recommendations/367")))
        first.start()
        assert going_on.wait(5)
        busy = client.get("/v1/recommendations/367")
        assert client.get("/healthz").status_code == 200
        release_it.set()
        first.join()
    assert busy.status_code == 503
    assert busy.headers["Retry-After"] == "1"
    assert busy.json()["type"] == "urn:poplift:problem:overloaded"
    assert answers[0].status_code == 200


def test_many_outlets_are_answered_as_each_would_be_alone_and_the_unknown_ones_are_named(
    client: httpx.Client, app: FastAPI, settings: Settings
) -> None:
    asked = {"outlet_ids": ["406", "nowhere", "367", "406"], "limit": 2}
    answer = client.post("/v1/recommendations/batch", json=asked).json()
    assert [outlet["outlet_id"] for outlet in answer["outlets"]] == ["406", "367"]
    assert [unknown["outlet_id"] for unknown in answer["unknown"]] == ["nowhere"]
    decided = []
    for outlet in answer["outlets"]:
        alone = client.get(f"/v1/recommendations/{outlet['outlet_id']}?limit=2").json()
        assert outlet["request_id"] == answer["request_id"]
        decided += [
            (r.pop("decision_id"), alone["recommendations"][n].pop("decision_id"))[0]
            for n, r in enumerate(outlet["recommendations"])
        ]
        assert outlet["recommendations"] == alone["recommendations"]
    app.state.service.decisions.close()
    logged = {row["decision_id"]: row for row in rows_of(settings.decisions_dir)}
    assert {logged[decision]["request_id"] for decision in decided} == {answer["request_id"]}


@pytest.mark.parametrize("outlets", [[], ["367"] * 101, ["a b"], "367", None])
def test_a_batch_without_outlets_or_with_too_many_is_a_422(client: httpx.Client, outlets: Any) -> None:
    assert client.post("/v1/recommendations/batch", json={"outlet_ids": outlets}).status_code == 422
