"""The command says what the API spent, or why it does not know."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flows.cost import CostError, cost_of_decisions
from poplift.settings import load_settings

TOLD = {
    "/metrics": b"poplift_process_cpu_seconds_total 7.2\n"
    b'poplift_answers_total{kind="demand"} 2000\npoplift_cpu_hour_price_usd 0.05\n'
}


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server that tells TOLD."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization", "Bearer right") == "Bearer right"
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(TOLD.get(self.path, b"") if known else b"")

        def log_message(self, *_: object) -> None:
            """Be silent."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_the_cost_of_a_million_decisions_is_said_with_its_price(port: int) -> None:
    said = cost_of_decisions(load_settings(api_port=port))
    assert said.startswith("2,000 decisions and 7.2 processor seconds since the API started: 0.05 USD for a million")
    assert said.endswith("at 0.05 USD for a processor hour (declared, POPLIFT_CPU_HOUR_USD)")


def test_a_cost_of_few_decisions_is_said_to_be_that_of_the_start(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOLD, "/metrics", TOLD["/metrics"].replace(b"2000", b"12"))
    assert cost_of_decisions(load_settings(api_port=port)).endswith("; of so few, much of it is the start")


def test_where_no_api_answers_the_error_says_how_to_start_one(free_port: int) -> None:
    with pytest.raises(CostError, match="start it with `poplift serve`"):
        cost_of_decisions(load_settings(api_port=free_port))


def test_a_key_comes_from_a_file_and_one_that_is_not_accepted_is_said_to_be_needed(port: int, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("right\n")
    assert "2,000 decisions" in cost_of_decisions(load_settings(api_port=port), key_file=key)
    with pytest.raises(CostError, match="nobody: cannot be read: No such file"):
        cost_of_decisions(load_settings(api_port=port), key_file=tmp_path / "nobody")
    key.write_text("wrong\n")
    with pytest.raises(CostError, match="role read"):
        cost_of_decisions(load_settings(api_port=port), key_file=key)
