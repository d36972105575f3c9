"""A write sent again under its key is done once and answered the same, whatever happened to the first answer."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from serving.app import create_app
from serving.idempotency import HEADER, REPLAYED
from serving.service import Limits

PPG = "m1-soft-drinks-3"
ROWS = {"rows": [{"outlet_id": "367", "ppg_id": PPG}]}
KEY = {HEADER: "8e03978e-40d5-43dd-bc93-6894a57f9324"}


def test_the_same_key_and_body_get_the_same_answer_and_one_decision(client, app):
    first = client.post("/v1/demand", json=ROWS, headers=KEY)
    again = client.post("/v1/demand", json=ROWS, headers=KEY)
    assert first.status_code == again.status_code == 200
    assert first.content == again.content
    assert first.headers["content-type"] == again.headers["content-type"]
    assert (first.headers.get(REPLAYED), again.headers[REPLAYED]) == (None, "true")
    assert first.headers["X-Request-ID"] != again.headers["X-Request-ID"]
    without = client.post("/v1/demand", json=ROWS)
    assert without.json()["rows"][0]["decision_id"] != first.json()["rows"][0]["decision_id"]


def test_a_quoted_key_is_the_key_without_its_quotes(client):
    first = client.post("/v1/demand", json=ROWS, headers=KEY)
    quoted = client.post("/v1/demand", json=ROWS, headers={HEADER: f'"{KEY[HEADER]}"'})
    assert quoted.content == first.content


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/demand", {"rows": [*ROWS["rows"], *ROWS["rows"]]}),
        ("/v1/recommendations", {"outlet_id": "367"}),
        ("/v1/demand?a", ROWS),
    ],
)
def test_a_key_of_another_request_is_a_422(client, path, body):
    client.post("/v1/demand", json=ROWS, headers=KEY)
    other = client.post(path, json=body, headers=KEY)
    assert other.status_code == 422
    assert other.json()["type"] == "urn:poplift:problem:key-reused"
    assert other.headers["content-type"] == "application/problem+json"


def test_a_request_whose_first_attempt_is_still_answered_is_a_409(settings, active, store, serving):
    going_on, go = threading.Event(), threading.Event()

    def hang():
        going_on.set()
        go.wait(5)

    with serving(create_app(settings, reader=store, limits=Limits())) as client, ThreadPoolExecutor(1) as pool:
        store.hang = hang
        first = pool.submit(client.post, "/v1/demand", json=ROWS, headers=KEY)
        assert going_on.wait(5)
        second = httpx.post(f"{client.base_url}/v1/demand", json=ROWS, headers=KEY, timeout=5)
        store.hang = None
        go.set()
        assert (second.status_code, second.headers["Retry-After"]) == (409, "1")
        assert first.result().status_code == 200
        assert client.post("/v1/demand", json=ROWS, headers=KEY).content == first.result().content


@pytest.mark.parametrize("body", [{"rows": []}, {"rows": [{"outlet_id": "nowhere", "ppg_id": PPG}]}])
def test_what_failed_is_tried_again_and_nothing_of_it_is_remembered(client, body):
    assert client.post("/v1/demand", json=body, headers=KEY).status_code in {404, 422}
    assert client.post("/v1/demand", json=ROWS, headers=KEY).status_code == 200


def test_an_answer_that_could_not_be_given_is_not_remembered(client, app, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(app.state.service.current, "get", lambda: None)
        assert client.post("/v1/demand", json=ROWS, headers=KEY).status_code == 503
    assert client.post("/v1/demand", json=ROWS, headers=KEY).status_code == 200


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\x07", '"', "schlüssel"])
def test_what_is_no_key_is_a_422(client, key):
    refused = client.post("/v1/demand", json=ROWS, headers={HEADER: key.encode()})
    assert refused.status_code in {400, 422}
    assert client.post("/v1/demand", json=ROWS).status_code == 200


def test_a_body_that_is_too_large_is_a_413_with_a_key_too(client):
    for content in (b" " * 10_000_000, (b" " * 100_000 for _ in range(100))):
        headers = KEY | {"content-type": "application/json"}
        assert client.post("/v1/events", content=content, headers=headers).status_code == 413
    assert client.post("/v1/demand", json=ROWS, headers=KEY).status_code == 200


@pytest.mark.parametrize("path", ["/v1/events", "/v1/executions", "/v1/plan", "/v1/recommendations/batch"])
def test_json_that_is_nested_without_end_is_the_callers_error(client, path):
    for content in (b"[" * 100_000, b'{"a":' * 100_000, b"[" * 400_000 + b"]" * 400_000):
        answer = client.post(path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code in {400, 422}
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_memory_that_cannot_be_used_is_a_503_before_anything_is_done(client, app, settings):
    (settings.home / "answers.db").mkdir()
    refused = client.post("/v1/demand", json=ROWS, headers=KEY)
    assert refused.status_code == 503
    assert "nothing was done" in refused.json()["detail"]
    assert client.post("/v1/demand", json=ROWS).status_code == 200


def test_a_client_gets_nobody_elses_answer(guarded, serving, key_of):
    with serving(guarded()) as client:
        one, other = (key_of("decide", name=name) | KEY for name in ("one", "other"))
        first = client.post("/v1/demand", json=ROWS, headers=one)
        second = client.post("/v1/demand", json=ROWS, headers=other)
        assert REPLAYED not in second.headers
        assert first.json()["rows"][0]["decision_id"] != second.json()["rows"][0]["decision_id"]
        assert client.post("/v1/demand", json=ROWS, headers=KEY).status_code == 401
