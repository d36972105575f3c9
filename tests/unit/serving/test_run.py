"""The server process writes lines that are JSON, is traced where it is told to, and drains what it answered."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from flows.api_process import free_port
from poplift.settings import Settings, child_environment

PROGRAM = """
import importlib.util, sys
from pathlib import Path
from poplift.settings import load_settings
from serving.run import run

spec = importlib.util.spec_from_file_location("stores", sys.argv[1])
stores = importlib.util.module_from_spec(spec)
sys.modules["stores"] = stores
spec.loader.exec_module(stores)
run(load_settings(home=Path(sys.argv[2]), api_port=int(sys.argv[3])), reader=stores.MemoryStore.filled())
"""


class Serving:
    """A server process of its own, a client of it, and after `stop` the lines it wrote."""

    def __init__(self, settings: Settings, port: int, **environment: str) -> None:
        stores = Path(__file__).with_name("conftest.py")
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(stores), str(settings.home), str(port)],
            env=child_environment(settings, **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5)

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            assert self._process.poll() is None, self._process.stdout.read()
            assert time.monotonic() < deadline, "the server did not start"
            try:
                if self.client.get("/readyz").status_code == 200:
                    return
            except httpx.ConnectError:
                time.sleep(0.05)

    def stop(self) -> list[str]:
        self._process.send_signal(signal.SIGTERM)
        return self._process.communicate(timeout=20)[0].splitlines()

    def end(self) -> None:
        self.client.close()
        self._process.kill()
        self._process.communicate()


@contextmanager
def serving_process(settings: Settings, port: int, **environment: str) -> Iterator[Serving]:
    serving = Serving(settings, port, **environment)
    try:
        serving.wait()
        yield serving
    finally:
        serving.end()


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
FORGED = "%0a{%22event%22:%22forged%22}%0d%1b[31mred"


@dataclass(frozen=True)
class Ended:
    """What one server process answered and what it left when it was told to stop."""

    settings: Settings
    decisions: list[str]
    lines: list[str]


@pytest.fixture(scope="module")
def ended(make_settings: Callable[[], Settings]) -> Ended:
    """A server without tracing that answered 20 questions and five attempts at its log."""
    settings, served = make_settings(), []
    with serving_process(settings, free_port()) as serving:
        for _ in range(20):
            answer = serving.client.get("/v1/recommendations/367").json()
            served += [item["decision_id"] for item in answer["recommendations"]]
        for path in ("/v1/recommendations/", "/nothing/", "/v1/recommendations/367?limit="):
            serving.client.get(path + FORGED, headers=CALLED)
        serving.client.get("/healthz", headers={"X-Request-ID": "a b; forged", "traceparent": "not one"})
        serving.client.request("PROPFIND", "/" + "x" * 5000)
        return Ended(settings, served, serving.stop())


def test_sigterm_loses_no_decision_that_was_answered(ended: Ended) -> None:
    files = list(ended.settings.decisions_dir.glob("*.jsonl"))
    logged = [json.loads(line)["decision_id"] for file in files for line in file.read_text().splitlines()]
    assert sorted(logged) == sorted(ended.decisions)


def test_every_request_is_one_bounded_line_of_json_whatever_a_client_sends(ended: Ended) -> None:
    lines = [json.loads(line) for line in ended.lines]
    assert all({"event", "level", "timestamp"} <= set(line) for line in lines)
    requests = [line for line in lines if line["event"] == "request" and line["route"] != "/readyz"]
    assert [line["route"] for line in requests[:20]] == ["/v1/recommendations/{outlet_id}"] * 20
    assert [line.get("trace_id") for line in requests] == [None] * 20 + [TRACE] * 3 + [None] * 2
    fields = {"event", "level", "timestamp", "request_id", "method", "route", "status", "duration_ms"}
    assert [set(line) - {"trace_id"} for line in requests] == [fields] * 25
    assert max(map(len, ended.lines)) < 600
    assert not any("forged" in line.lower() or "\x1b" in line for line in ended.lines)


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Address of an OTLP receiver, and what it was sent."""
    received: list[ExportTraceServiceRequest] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be silent."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


def test_a_trace_shows_the_parts_of_an_answer_under_the_callers_span(
    make_settings: Callable[[], Settings], collector: tuple[str, list[ExportTraceServiceRequest]]
) -> None:
    address, received = collector
    with serving_process(
        make_settings(), free_port(), OTEL_EXPORTER_OTLP_ENDPOINT=address, OTEL_EXPORTER_OTLP_COMPRESSION="none"
    ) as serving:
        serving.client.get("/v1/recommendations/367", headers=CALLED | {"X-Request-ID": "asked-by-a-test"})
        lines = [json.loads(line) for line in serving.stop()]
    (resource,) = {r.resource.SerializeToString() for batch in received for r in batch.resource_spans}
    assert b"poplift" in resource
    spans = [s for batch in received for r in batch.resource_spans for scope in r.scope_spans for s in scope.spans]
    ours = [span for span in spans if span.trace_id.hex() == TRACE]
    (whole,) = [span for span in ours if span.parent_span_id.hex() == PARENT]
    assert whole.name == "GET /v1/recommendations/{outlet_id}"
    assert "asked-by-a-test" in {a.value.string_value for a in whole.attributes}
    parts = sorted((s for s in ours if s.parent_span_id == whole.span_id), key=lambda s: s.start_time_unix_nano)
    assert [span.name for span in parts] == ["feature_read", "model", "policy", "explain", "answer"]
    assert len(ours) == 6
    assert all(whole.start_time_unix_nano <= s.start_time_unix_nano for s in parts)
    assert [line["trace_id"] for line in lines if line.get("request_id") == "asked-by-a-test"] == [TRACE]
