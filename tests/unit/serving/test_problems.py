"""Bad input gets a named error in the form of RFC 9457, never a 500 and never its own words back."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serving.app import create_app

ROW = '{"outlet_id": "367", "ppg_id": "m1-soft-drinks-3", "activation": {"price_cut": %s}}'
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(make_settings: Any, new_store: Any, serving: Any) -> Iterator[httpx.Client]:
    """One application for the whole matrix: bad input must not leave a trace."""
    with serving(create_app(make_settings(), reader=new_store())) as running:
        yield running
        assert 'status="500"' not in running.get("/metrics").text


def check(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(response.text, parse_constant=pytest.fail)
    assert problem["status"] == status
    assert problem["type"].startswith("urn:poplift:problem:")
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert "Traceback" not in response.text
    return problem


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e400", '"0.2"', "true", "null", "0.61", "-0.1", "[]"]
)
def test_what_is_no_price_cut_is_a_422_that_names_the_field(client: httpx.Client, value: str) -> None:
    body = '{"rows": [' + ROW % value + "]}"
    problem = check(client.post("/v1/demand", content=body, headers=JSON), 422)
    assert problem["errors"][0]["where"] == "body.rows.0.activation.price_cut"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"rows": []}',
        '{"rows": {}}',
        '{"rows": [{"outlet_id": "367"}]}',
        '{"rows": [{"outlet_id": 367, "ppg_id": "a"}]}',
        '{"rows": [{"outlet_id": "", "ppg_id": "a"}]}',
        '{"rows": [{"outlet_id": "a b", "ppg_id": "a"}]}',
        '{"rows": [{"outlet_id": "a\\u0000", "ppg_id": "a"}]}',
        '{"rows": [{"outlet_id": "\\ud800", "ppg_id": "a"}]}',
        '{"rows": [{"outlet_id": "' + "x" * 101 + '", "ppg_id": "a"}]}',
        '{"rows": [' + ROW % "0.1" + '], "more": 1}',
        '{"rows": [{"outlet_id": "367", "ppg_id": "a", "activation": {"display": 1}}]}',
        '{"rows": [{"outlet_id": "367", "ppg_id": "a", "activation": {"coupon": true}}]}',
        '{"rows": [' + ",".join([ROW % "0.1"] * 1001) + "]}",
    ],
)
def test_a_body_that_breaks_the_schema_is_a_422(client: httpx.Client, body: str) -> None:
    check(client.post("/v1/demand", content=body, headers=JSON), 422)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[" * 100_000, b'{"rows": ' + b"9" * 5000 + b"}"])
def test_a_body_that_is_no_json_is_the_callers_error(client: httpx.Client, body: bytes) -> None:
    response = client.post("/v1/demand", content=body, headers=JSON)
    assert response.status_code in {400, 422}
    check(response, response.status_code)


def test_the_input_is_never_echoed(client: httpx.Client) -> None:
    body = '{"rows": [{"outlet_id": "personal data", "ppg_id": "a"}]}'
    assert "personal data" not in client.post("/v1/demand", content=body, headers=JSON).text


@pytest.mark.parametrize("path", ["/v1/demand", "/v1/recommendations"])
def test_ten_megabytes_are_a_413(client: httpx.Client, path: str) -> None:
    check(client.post(path, content=b" " * 10_000_000, headers=JSON), 413)


def test_ten_megabytes_without_a_length_are_a_413(client: httpx.Client) -> None:
    chunks = (b" " * 100_000 for _ in range(100))
    check(client.post("/v1/demand", content=chunks, headers=JSON), 413)


def test_a_thousand_rows_are_answered(client: httpx.Client) -> None:
    body = '{"rows": [' + ",".join([ROW % "0.1"] * 1000) + "]}"
    response = client.post("/v1/demand", content=body, headers=JSON)
    assert response.status_code == 200
    assert len(response.json()["rows"]) == 1000


def test_a_wrong_method_or_path_is_a_problem_too(client: httpx.Client) -> None:
    wrong = client.delete("/v1/demand")
    check(wrong, 405)
    assert wrong.headers["Allow"] == "POST"
    check(client.get("/v1/nothing"), 404)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=ten", "limit=NaN"])
def test_a_wrong_limit_is_a_422(client: httpx.Client, query: str) -> None:
    check(client.get(f"/v1/recommendations/367?{query}"), 422)


def test_an_outlet_id_with_odd_signs_is_a_422(client: httpx.Client) -> None:
    check(client.get("/v1/recommendations/a%00b"), 422)
    check(client.get("/v1/recommendations/" + "x" * 200), 422)


def test_a_request_id_that_could_break_a_log_is_replaced(client: httpx.Client) -> None:
    response = client.get("/healthz", headers={"X-Request-ID": "a" * 500})
    assert len(response.headers["X-Request-ID"]) == 36


def test_the_openapi_page_shows_every_error_as_a_problem_with_examples(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/v1/demand"]["post"]
    assert list(operation["responses"]["422"]["content"]) == ["application/problem+json"]
    assert operation["requestBody"]["content"]["application/json"]["examples"]
    assert "HTTPValidationError" not in json.dumps(document)
    assert "Problem" in document["components"]["schemas"]
    assert client.get("/docs").status_code == 200


def test_the_example_of_the_openapi_page_is_valid(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    content = document["paths"]["/v1/demand"]["post"]["requestBody"]["content"]["application/json"]
    example = content["examples"]["two plans"]["value"]
    for row in example["rows"]:
        row["ppg_id"] = "m1-soft-drinks-3"
    assert client.post("/v1/demand", json=example).status_code == 200
