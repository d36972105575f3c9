"""Clients that send or read a byte at a time, or nothing at all: others are served, and they are closed in time."""

import contextlib
import json
import socket
import threading
import time

import pytest

from serving.slow_clients import SEND_SECONDS, TAKE_SECONDS
from tests.fault.serving_process import DEMAND, RECOMMENDATIONS, Api, wait_until
from tests.served_home import KNOWN, served_home
from tests.unit.serving.conftest import train

pytestmark = pytest.mark.slow

GIVE_UP = 5  # what closing may take longer on a busy machine
HEAD = b"POST /v1/demand HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def api(tmp_path_factory, small_home):
    folder = tmp_path_factory.mktemp("served")
    settings = served_home(small_home.settings, folder / "var", train(folder / "demand"))
    with Api(settings) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def connect(api):
    opened = []

    def one(**options):
        connection = socket.socket()
        if "receive" in options:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["receive"])
        connection.connect(("127.0.0.1", int(api.address.rpartition(":")[2])))
        connection.settimeout(30)
        opened.append(connection)
        return connection

    yield one
    for connection in opened:
        connection.close()


def last_words(connection):
    """What comes until the server closes the connection."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            said += part
    return said


def dribble(connections, until):
    """A byte a second on each, which no timeout between two bytes would notice."""
    while not until.wait(1):
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.send(b"a")


def assert_others_are_served(api, *, seconds):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.monotonic()
        assert api.get(RECOMMENDATIONS).status_code == 200
        assert api.get("/healthz").status_code == 200
        assert time.monotonic() - began < 1
        time.sleep(0.1)


@pytest.mark.parametrize(
    "opening",
    [b"", HEAD + b"x-slow: ", HEAD + b"content-length: 1000\r\n\r\n"],
    ids=["nothing at all", "headers", "a body"],
)
def test_fifty_clients_that_never_finish_their_request_harm_nobody_and_are_closed(api, connect, opening):
    began, over = time.monotonic(), threading.Event()
    slow = [connect() for _ in range(50)]
    for connection in slow:
        connection.sendall(opening)
    dribbling = threading.Thread(target=dribble, args=(slow if opening else [], over))
    dribbling.start()
    try:
        assert_others_are_served(api, seconds=3)
        said = [last_words(connection) for connection in slow]
    finally:
        over.set()
        dribbling.join()
    assert time.monotonic() - began < SEND_SECONDS + GIVE_UP
    assert all(words.startswith(b"HTTP/1.1 408 ") or not words for words in said)
    assert any(said)
    wait_until(lambda: api.metric("poplift_http_requests_in_flight") == 1, seconds=5)
    assert api.metric('poplift_http_requests_total{method="POST",route="/v1/demand",status="500"}') == 0


def test_a_client_that_takes_no_answer_is_cut_off_and_others_are_served(api, connect):
    body = json.dumps({"rows": [KNOWN] * 1000}).encode()
    question = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
    greedy = connect(receive=4096)

    def ask():
        with contextlib.suppress(OSError):
            for _ in range(50):
                greedy.sendall(question)

    asking = threading.Thread(target=ask)
    asking.start()
    assert_others_are_served(api, seconds=3)
    assert api.metric("poplift_http_requests_in_flight") == 2
    wait_until(lambda: api.metric("poplift_http_requests_in_flight") == 1, seconds=TAKE_SECONDS + GIVE_UP)
    greedy.close()
    asking.join()


def test_a_slow_but_steady_body_is_answered(api, connect):
    body = json.dumps(DEMAND).encode()
    connection = connect()
    connection.sendall(HEAD + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
    for at in range(0, len(body), len(body) // 10):
        connection.sendall(body[at : at + len(body) // 10])
        time.sleep(0.2)
    assert last_words(connection).startswith(b"HTTP/1.1 200 ")


def test_three_hundred_idle_connections_do_not_keep_others_out(api, connect):
    idle = [connect() for _ in range(300)]
    assert_others_are_served(api, seconds=1)
    assert len(idle) == 300
