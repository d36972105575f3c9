"""What the OpenAPI document promises holds: requests it allows and requests it forbids get an answer that it declares."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from poplift.settings import load_settings
from serving import examples, schemas
from serving.app import create_app
from serving.events import EventsAnswer
from serving.execution_routes import ExecutionsAnswer
from serving.plan_routes import PlanAnswer
from serving.published_plan_routes import PublishedPlan
from serving.release_routes import RollbackAnswer
from tests.live_week import NOW, chain
from tests.unit.serving.planner.effect_rows import frame, none, row
from tests.unit.serving.test_published_plan import publish

OPERATIONS = [
    ("POST", "/v1/demand"),
    ("GET", "/v1/recommendations/{outlet_id}"),
    ("POST", "/v1/recommendations"),
    ("POST", "/v1/recommendations/batch"),
    ("POST", "/v1/plan"),
    ("GET", "/v1/plan"),
    ("POST", "/v1/executions"),
    ("POST", "/v1/events"),
    ("POST", "/v1/releases/rollback"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/version"),
]
CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


class Online:
    def write(self, rows):
        """Takes the rows of the open week."""


@pytest.fixture(scope="module")
def running(make_settings, new_store, serving):
    """An application with everything that its routes ask for: release, lake, effect table, published plan."""
    home = load_settings(home=make_settings().home, business_time=NOW)
    chain(home.lake_dir)
    publish(home.plans_dir)
    home.features_dir.mkdir(parents=True, exist_ok=True)
    rows = (r for o in ("367", "406") for r in (none(o, "m1-soft-drinks-0"), row(o, "m1-soft-drinks-0", "mailer", 3.0)))
    frame(*rows).to_parquet(home.features_dir / "outlet_ppg_effects.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feature_repo.running.RunningWriter", lambda settings: Online())
        with serving(create_app(home, reader=new_store())) as client:
            yield client


@pytest.fixture(scope="module")
def schema(running):
    return schemathesis.openapi.from_dict(running.get("/openapi.json").json())


def fuzz(operation, client, *, examples):
    """Requests that the document allows and requests that it forbids, half and half."""
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=cases)
    def ask(case):
        response = case.call(base_url=str(client.base_url))
        assert response.status_code != 500, (case.as_curl_command(), response.text)
        case.validate_response(response, checks=CONFORMANCE)
        if response.status_code >= 400:
            assert response.headers["content-type"] == ["application/problem+json"]
        if response.status_code >= 500 and response.status_code != 503:
            case.validate_response(response, checks=[not_a_server_error])

    ask()


def test_every_operation_is_asked(schema):
    assert {(found.ok().method.upper(), found.ok().path) for found in schema.get_all_operations()} == set(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_request_is_a_server_error_and_every_answer_is_declared(schema, running, method, path):
    fuzz(schema[path][method], running, examples=12)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_request_of_many_is_a_server_error(schema, running, method, path):
    fuzz(schema[path][method], running, examples=60)


def test_every_operation_with_a_body_or_an_answer_shows_an_example(schema):
    silent = []
    for path, operations in schema.raw_schema["paths"].items():
        for method, operation in operations.items():
            contents = list(operation.get("requestBody", {}).get("content", {}).values())
            contents += [
                content
                for status, answer in operation["responses"].items()
                if status.startswith("2")
                for kind, content in answer.get("content", {}).items()
                if kind == "application/json"
            ]
            silent += [f"{method} {path}" for content in contents if not json.dumps(content).count('"example')]
    assert silent == []


MODELS = {
    "DEMAND": schemas.DemandAnswer,
    "RECOMMENDATIONS": schemas.RecommendationAnswer,
    "OUTLETS": schemas.OutletsAnswer,
    "PLAN": PlanAnswer,
    "PUBLISHED": PublishedPlan,
    "EVENTS": EventsAnswer,
    "EXECUTIONS": ExecutionsAnswer,
    "ROLLED_BACK": RollbackAnswer,
}


@pytest.mark.parametrize("name", MODELS)
def test_an_example_answer_has_the_form_of_its_model_whole(name):
    example = getattr(examples, name)
    read = MODELS[name].model_validate_json(json.dumps(example))
    assert set(read.model_dump()) == set(example)


@pytest.mark.parametrize(("path", "name"), [("/healthz", "ALIVE"), ("/readyz", "READY"), ("/version", "VERSION")])
def test_an_example_of_the_operators_answers_has_their_fields(running, path, name):
    assert set(running.get(path).json()) == set(getattr(examples, name))


@pytest.mark.parametrize(("method", "path"), [(m, p) for m, p in OPERATIONS if m == "POST"])
def test_an_example_request_is_valid(schema, running, method, path):
    content = schema.raw_schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        assert running.post(path, json=example["value"]).status_code not in {422, 500}
