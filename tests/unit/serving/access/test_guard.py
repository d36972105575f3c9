"""Every route answers clients with its role and nobody else; without keys the API answers this machine only."""

import http.client
import time
from contextlib import closing

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts

from poplift.settings import Settings, SettingsError, load_settings
from serving.access import keys as keys_module
from serving.access.guard import OPEN_PATHS, GuardedRoute, check_routes, check_start
from serving.access.keys import ApiKeys
from serving.access.roles import ROLE, AccessError, Role

# Who may call what: the whole of it, beside the code on purpose.
MATRIX = {
    ("POST", "/v1/demand"): "decide",
    ("GET", "/v1/recommendations/{outlet_id}"): "decide",
    ("POST", "/v1/recommendations"): "decide",
    ("POST", "/v1/recommendations/batch"): "decide",
    ("POST", "/v1/plan"): "decide",
    ("GET", "/v1/plan"): "read",
    ("POST", "/v1/events"): "ingest",
    ("POST", "/v1/executions"): "ingest",
    ("POST", "/v1/releases/rollback"): "operate",
    ("GET", "/metrics"): "read",
    ("GET", "/version"): "read",
    ("GET", "/"): "public",
    ("GET", "/healthz"): "public",
    ("GET", "/readyz"): "public",
}
GUARDED = sorted((*asked, role) for asked, role in MATRIX.items() if role != "public")


def ask(client, method, path, headers=None):
    return client.request(method, path.format(outlet_id="367"), headers=headers, json=None if method == "GET" else {})


def test_every_route_has_the_role_of_the_matrix_and_there_is_no_other_route(app):
    declared = {
        (method, route.path): route.openapi_extra[ROLE]
        for route in iter_route_contexts(app.routes)
        if isinstance(route.original_route, GuardedRoute)
        for method in route.methods
    }
    assert declared == MATRIX
    others = {route.path for route in iter_route_contexts(app.routes)} - {path for _, path in MATRIX}
    assert others == OPEN_PATHS


@pytest.mark.parametrize("route_class", [None, GuardedRoute])
def test_a_route_without_a_role_keeps_the_api_from_starting(route_class):
    router = APIRouter(route_class=route_class) if route_class else APIRouter()
    router.get("/v1/secret")(lambda: "told")
    app = FastAPI()
    app.include_router(router)
    with pytest.raises(AccessError, match="/v1/secret: declares no role"):
        check_routes(app)


def test_a_route_without_a_role_answers_nobody_even_if_it_were_started(guarded, serving, key_of):
    app = guarded()
    router = APIRouter(route_class=GuardedRoute)
    router.get("/v1/secret")(lambda: "told")
    app.include_router(router)
    with serving(app) as client:
        assert client.get("/v1/secret").status_code == 401
        assert client.get("/v1/secret", headers=key_of(*Role)).status_code == 403


def test_each_role_opens_its_routes_and_no_other(guarded, serving, key_of):
    credentials = {str(role): key_of(role, name=str(role)) for role in Role}
    with serving(guarded()) as client:
        for method, path, needed in GUARDED:
            nobody = ask(client, method, path)
            assert (nobody.status_code, nobody.headers["WWW-Authenticate"]) == (401, "Bearer"), path
            assert nobody.headers["content-type"] == "application/problem+json"
            for role, headers in credentials.items():
                status = ask(client, method, path, headers).status_code
                assert (status == 403) == (role != needed), (method, path, role, status)
                assert status not in {401, 500}
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code in {200, 503}  # of a store that is slow while the machine is busy
        assert client.get("/openapi.json").status_code == client.get("/docs").status_code == 200


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "Bearer",
        "Bearer poplift_",
        "Bearer poplift_aaaaaaaaaaaa_wrong",
        "Bearer not-a-token",
        "Bearer a.b.c",
        "Basic YTpi",
        "Bearer \xff",
    ],
)
def test_what_is_no_credential_is_a_401_that_does_not_repeat_it(guarded_client, credential):
    answer = guarded_client.get("/version", headers={"Authorization": credential.encode("latin-1")})
    assert answer.status_code == 401
    assert "aaaaaaaaaaaa" not in answer.text


def connected(client):
    return closing(http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=5))


def test_nothing_of_the_body_is_read_before_the_client_is_known(guarded_client):
    """A body that never ends is refused at once, so that strangers cannot make the API parse."""
    with connected(guarded_client) as connection:
        connection.putrequest("POST", "/v1/demand")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"{")
        assert connection.getresponse().status == 401


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/version/", {}),
        ("//version", {}),
        ("/version/.", {}),
        ("/version;a", {}),
        ("/version%2f", {}),
        ("/%76ersion", {}),
        ("/VERSION", {}),
        ("/healthz/../version", {}),
        ("/healthz", {"X-Original-URL": "/version", "X-Rewrite-URL": "/version"}),
        ("/version", {"Host": "localhost"}),
        ("/version", {"Host": "127.0.0.1", "X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}),
        ("/version?role=operate&access=open", {"X-Role": "operate"}),
        ("/version", {"X-HTTP-Method-Override": "OPTIONS"}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_no_spelling_of_path_host_or_method_gets_past_the_guard(guarded_client, path, headers, method):
    with connected(guarded_client) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        assert b"release_versions" not in answer.read()
        assert answer.status in {200, 307, 401, 404, 405}
        assert answer.status != 200 or path == "/healthz"


def test_a_client_that_asks_too_often_waits_and_the_others_do_not(guarded, serving, key_of):
    eager, calm = key_of("read", name="eager"), key_of("read", name="calm")
    with serving(guarded(client_rate=0.5, client_burst=3)) as client:
        statuses = [client.get("/version", headers=eager).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        refused = client.get("/version", headers=eager)
        assert refused.headers["Retry-After"] == "2"
        assert client.get("/version", headers=calm).status_code == 200
        counted = client.get("/metrics", headers=calm).text
        assert 'poplift_access_refused_total{cause="limit"} 3.0' in counted


def test_a_revoked_key_stops_within_seconds_in_every_process(guarded, serving, key_of, settings, monkeypatch):
    monkeypatch.setattr(keys_module, "LOOK_SECONDS", 0.05)
    headers = key_of("read")
    with serving(guarded()) as one, serving(guarded()) as other:
        assert one.get("/version", headers=headers).status_code == 200
        assert other.get("/version", headers=headers).status_code == 200
        keys = ApiKeys(settings.access_dir)
        keys.revoke(keys.all()[0].id, at=settings.now())
        time.sleep(0.1)
        assert one.get("/version", headers=headers).status_code == 401
        assert other.get("/version", headers=headers).status_code == 401


def test_without_keys_a_page_of_another_host_cannot_ask_through_a_browser(client):
    for host in ("127.0.0.1:1", "localhost", "[::1]:8000"):
        assert client.get("/version", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", "[::2]"):
        refused = client.get("/version", headers={"Host": host})
        assert refused.status_code == 403
        assert "POPLIFT_ACCESS=required" in refused.json()["detail"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.0.1"])
def test_the_local_profile_starts_on_this_machine_without_a_key(settings, host):
    check_start(Settings(home=settings.home, api_host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "api.internal"])
def test_the_local_profile_refuses_another_address_and_says_what_to_do(settings, host):
    with pytest.raises(AccessError, match=r"answers this machine only\. Set POPLIFT_API_HOST=127.0.0.1, or .*keys"):
        check_start(Settings(home=settings.home, api_host=host))


def test_where_access_is_required_somebody_must_be_able_to_ask(settings, key_of):
    required = Settings(home=settings.home, access="required", api_host="0.0.0.0")
    with pytest.raises(AccessError, match="nobody may ask: make a key with `poplift keys create"):
        check_start(required)
    key_of("read")
    check_start(required)
    keys = ApiKeys(settings.access_dir)
    keys.revoke(keys.all()[0].id, at=settings.now())
    with pytest.raises(AccessError, match="nobody may ask"):
        check_start(required)
    check_start(
        Settings(
            **required.model_dump(exclude_unset=True), oidc_issuer="https://issuer.example", oidc_audience="poplift"
        )
    )


def test_production_asks_everybody_who_they_are():
    given = {
        "profile": "production",
        "postgres_url": "postgresql+psycopg://x/",
        "redis_url": "x:1",
        "shopper_key": "a",
        "verdict_key": "b",
    }
    assert load_settings(**given).access == "required"
    with pytest.raises(SettingsError, match="POPLIFT_ACCESS=required"):
        load_settings(**given, access="open")


def test_an_issuer_without_an_audience_is_no_setting(settings):
    with pytest.raises(SettingsError, match="POPLIFT_OIDC_AUDIENCE"):
        load_settings(home=settings.home, oidc_issuer="https://issuer.example")
