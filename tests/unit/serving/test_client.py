"""The client's types are those of the OpenAPI document, and its attempts do a thing once however often they are made."""

import json
import types
import typing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest

from serving import client as client_module
from serving.app import create_app
from serving.client import Poplift, ProblemError
from tests.unit.serving.test_published_plan import publish

TYPES = {
    name: found
    for name, found in vars(client_module).items()
    if typing.is_typeddict(found) and found.__module__ == client_module.__name__
}
PPG = "m1-soft-drinks-3"


@pytest.fixture(scope="module")
def schemas(tmp_path_factory):
    from poplift.settings import load_settings

    document = create_app(load_settings(home=tmp_path_factory.mktemp("home"))).openapi()
    schemas = document["components"]["schemas"]
    return schemas | {"Envelope": None, "Prediction": None}


def said(hint):
    """What a hint allows, in the words of JSON Schema: names of types and of other schemas."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.NotRequired, types.UnionType, typing.Union}:
        return set().union(*map(said, parts))
    if origin is list:
        return {("array", *sorted(said(parts[0])))}
    if typing.is_typeddict(hint):
        return {hint.__name__}
    plain = {str: "string", typing.Literal: "string", float: "number", int: "integer", bool: "boolean", dict: "object"}
    return {(plain | {type(None): "null"})[origin or hint]}


def declared(schema):
    """The same of a schema."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {name if name in TYPES else "object"}
    if "anyOf" in schema:
        return set().union(*(declared(part) for part in schema["anyOf"]))
    if schema.get("type") == "array":
        return {("array", *sorted(declared(schema["items"])))}
    return {schema.get("type", "string")}


@pytest.mark.parametrize("name", sorted(set(TYPES) - {"Envelope", "Prediction"}))
def test_a_type_has_the_fields_of_its_schema_no_more_no_less_and_of_the_same_kind(schemas, name):
    schema, hints = schemas[name], typing.get_type_hints(TYPES[name], include_extras=True)
    assert set(hints) == set(schema["properties"])
    assert set(TYPES[name].__required_keys__) == set(schema.get("required", []))
    for field, hint in hints.items():
        assert said(hint) == declared(schema["properties"][field]), field


def test_every_answer_of_the_client_is_that_of_its_route(app, serving, settings):
    publish(settings.plans_dir)
    with serving(app) as running, Poplift(str(running.base_url)) as poplift:
        best = poplift.recommendations("367", limit=2)
        assert len(best["recommendations"]) == 2
        assert set(best) == set(client_module.RecommendationAnswer.__annotations__)
        assert poplift.demand([{"outlet_id": "367", "ppg_id": PPG, "activation": {"display": True}}])["rows"]
        many = poplift.recommendations_of(["367", "nowhere"], limit=1)
        assert (many["outlets"][0]["outlet_id"], many["unknown"][0]["outlet_id"]) == ("367", "nowhere")
        plan = poplift.plan()
        assert plan["totals"]["lines"] == len(list(poplift.plan_lines(page=3))) == 10
        assert poplift.plan() is plan
        publish(settings.plans_dir, gain=4.0)
        assert poplift.plan()["plan_id"] != plan["plan_id"]
        with pytest.raises(ProblemError, match="'nowhere'") as refused:
            poplift.recommendations("nowhere")
        assert refused.value.problem["type"] == "urn:poplift:problem:unknown-entity"


def test_a_client_with_a_key_is_let_in(guarded, serving, key_of):
    key = key_of("decide")["Authorization"].removeprefix("Bearer ")
    with serving(guarded()) as running:
        with Poplift(str(running.base_url), key=key) as poplift:
            assert poplift.recommendations("367")["recommendations"]
        with Poplift(str(running.base_url)) as nobody, pytest.raises(ProblemError, match="401"):
            nobody.recommendations("367")


class Server:
    """Answers as it is told, one answer an attempt, and remembers what was sent; "cut" hangs up."""

    def __init__(self, *answers):
        left = list(answers)
        self.sent = sent = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                sent.append((self.headers["Idempotency-Key"], self.rfile.read(int(self.headers["Content-Length"]))))
                answer = left.pop(0)
                if answer == "cut":
                    self.close_connection = True
                    return
                status, headers = answer
                content = json.dumps({"rows": [], "title": "said"}).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def client(self, **given):
        return Poplift(f"http://127.0.0.1:{self.server.server_port}", wait=0.01, **given)


@pytest.fixture
def pauses(monkeypatch):
    """What the client would have slept."""
    slept = []
    monkeypatch.setattr(client_module.time, "sleep", slept.append)
    return slept


def test_attempts_are_made_again_after_as_long_as_the_api_asks_for_and_carry_one_key(pauses):
    answers = ((503, {"Retry-After": "3"}), "cut", (429, {"Retry-After": "999"}), (200, {}))
    with Server(*answers) as server, server.client() as poplift:
        assert poplift.demand([])["rows"] == []
        assert len({key for key, _ in server.sent}) == len({body for _, body in server.sent}) == 1
        assert len(server.sent) == 4
        assert pauses[0] == 3
        assert pauses[1] < 0.1
        assert pauses[2] == client_module.LONGEST_WAIT_SECONDS


def test_two_things_have_two_keys(pauses):
    with Server((200, {}), (200, {})) as server, server.client() as poplift:
        poplift.demand([])
        poplift.demand([])
        assert len({key for key, _ in server.sent}) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500])
def test_what_would_fail_again_is_not_tried_again(pauses, status):
    with Server((status, {})) as server, server.client() as poplift:
        with pytest.raises(ProblemError, match=f"{status} said"):
            poplift.demand([])
        assert len(server.sent) == 1
        assert pauses == []


def test_after_the_last_attempt_the_last_answer_is_told(pauses):
    with (
        Server((503, {}), (503, {})) as server,
        server.client(attempts=2) as poplift,
        pytest.raises(ProblemError, match="503"),
    ):
        poplift.demand([])
    with Server("cut", "cut") as server, server.client(attempts=2) as poplift, pytest.raises(httpx.TransportError):
        poplift.demand([])
    assert len(pauses) == 2


def test_the_file_can_be_copied_since_it_needs_httpx_alone():
    import ast
    from pathlib import Path

    tree = ast.parse(Path(client_module.__file__).read_text())
    named = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    named |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert named == {"httpx", "random", "time", "uuid", "collections.abc", "typing"}
