"""A real server with real keys: what is revoked stops, what is secret is told nowhere, and no id forges a log line."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest

from poplift.clock import wall_now
from poplift.settings import Settings, child_environment
from serving.access.keys import ApiKeys
from serving.access.roles import Role

CANARIES = {
    "shopper_key": "canary-shopper-7f3a",
    "verdict_key": "canary-verdict-91bc",
    "redis_url": "127.0.0.1:9,password=canary-redis-55de",
}
TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnktdG9rZW4ifQ."
SHOPPER = "canary-shopper-id-1229"
HOSTILE = [
    "a\nb",
    'a\r\n{"event": "forged"}',
    "\x1b[31mred",
    "\u202eesrever",
    "a\x00b",
    "../../etc/passwd",
    "${jndi:x}",
]


def poplift(settings, *words):
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *words],
        env=child_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def served(settings, log, *words):
    """A server as `poplift serve` starts it, once it answers; gives a function that waits until something holds."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "serve", *words],
            env=child_environment(settings),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://127.0.0.1:{settings.api_port}"
            wait_until(lambda: status(address, "/healthz") == 200, log)
            yield address
        finally:
            process.terminate()
            process.wait(20)


def status(address, path, **given):
    try:
        return httpx.get(address + path, timeout=5, **given).status_code
    except httpx.TransportError:
        return None


def wait_until(holds, log, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.1)


@pytest.fixture
def home(tmp_path, free_port):
    return Settings(home=tmp_path / "var", api_port=free_port, access="required", **CANARIES)


def test_nothing_secret_is_in_any_answer_metric_log_or_file_and_no_id_forges_a_line(home, tmp_path):
    key = ApiKeys(home.access_dir).create("till app", list(Role), at=wall_now())
    headers, log, answers = {"Authorization": f"Bearer {key}"}, tmp_path / "log", []
    line = {"basket_id": "1", "shopper_id": SHOPPER, "quantity": 1}
    with served(home, log) as address, httpx.Client(base_url=address, timeout=10) as client:
        for sent in (headers, {"Authorization": f"Bearer {key}x"}, {"Authorization": f"Bearer {TOKEN}"}, {}):
            for method, path, body in (
                ("GET", "/version", None),
                ("GET", "/readyz", None),
                ("GET", "/v1/recommendations/367", None),
                ("POST", "/v1/events", [line]),
                ("POST", "/v1/executions", [line]),
                ("POST", "/v1/demand", {"rows": [{"outlet_id": SHOPPER + " ", "ppg_id": "x"}]}),
            ):
                answers.append(client.request(method, path, json=body, headers=sent).text)
        for hostile in HOSTILE:
            body = {"outlet_id": hostile, "ppg_ids": [hostile]}
            assert client.post("/v1/recommendations", json=body, headers=headers).status_code == 422
            path = "/v1/recommendations/" + "".join(f"%{byte:02x}" for byte in hostile.encode())
            assert client.get(path, headers=headers).status_code in {404, 422, 503}
            assert client.get("/nothing/" + path, headers=headers | {"X-Request-ID": "a;b"}).status_code == 404
        metrics = client.get("/metrics", headers=headers).text
    told = log.read_text()
    kept = "".join(f.read_text(errors="replace") for f in home.home.rglob("*") if f.is_file())
    secrets = ["canary-shopper", "canary-verdict", "canary-redis", key.split("_", 2)[2], TOKEN, SHOPPER]
    for where, text in {"answers": "".join(answers), "metrics": metrics, "log": told, "files": kept}.items():
        assert [secret for secret in secrets if secret in text] == [], where
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert len([line for line in lines if line["event"] == "request"]) > 40
    assert {line["event"] for line in lines} & {"forged"} == set()
    assert not set(told) & {"\x1b", "\u202e", "\x00", "\r"}
    assert {line.get("client") for line in lines if line.get("route") == "/version" and line["status"] == 200} == {
        "till app"
    }
    routes = {part.split('route="')[1].split('"')[0] for part in metrics.splitlines() if 'route="' in part}
    assert len(routes) < 15
    assert not [route for route in routes if "etc" in route or "forged" in route]


def test_a_server_that_would_answer_nobody_or_anybody_says_so_in_one_line_and_ends(home):
    done = poplift(home, "serve")
    assert done.returncode == 1
    assert "nobody may ask: make a key with `poplift keys create" in done.stderr
    done = poplift(Settings(home=home.home, api_host="0.0.0.0"), "serve")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the API answers this machine only" in done.stderr


def test_keys_are_made_listed_and_revoked_by_commands(home):
    made = poplift(home, "keys", "create", "till app", "--role", "decide", "--role", "ingest")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert key.startswith("poplift_")
    assert "not shown again" in made.stderr
    listed = poplift(home, "keys", "list").stdout
    assert "till app" in listed
    assert "decide, ingest" in listed
    assert key not in listed
    wrong = poplift(home, "keys", "create", "other", "--role", "admin")
    assert (wrong.returncode, "choose from read, decide, ingest, operate" in wrong.stderr) == (1, True)
    revoked = poplift(home, "keys", "revoke", key.split("_")[1])
    assert "is revoked" in revoked.stdout
    assert ApiKeys(home.access_dir).client(key) is None


@pytest.mark.slow
def test_a_revoked_key_stops_within_seconds_in_both_workers(home, tmp_path):
    keys = ApiKeys(home.access_dir)
    stays, goes = (
        {"Authorization": f"Bearer {keys.create(name, [Role.READ], at=wall_now())}"} for name in ("stays", "goes")
    )
    with served(home, tmp_path / "log", "--workers", "2") as address:

        def answers(headers):
            return {status(address, "/version", headers=headers) for _ in range(30)}

        wait_until(lambda: answers(goes) == {200}, tmp_path / "log")
        keys.revoke(next(k.id for k in keys.all() if k.name == "goes"), at=wall_now())
        wait_until(lambda: answers(goes) == {401}, tmp_path / "log", seconds=5)
        assert answers(stays) == {200}
