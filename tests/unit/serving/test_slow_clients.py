"""A connection that owes a request or does not take its answer is closed; one in time never is."""

import contextlib
import socket
import threading
import time

import pytest
import uvicorn

from serving import slow_clients
from serving.slow_clients import ImpatientProtocol

LARGE = 32 << 20  # more than the buffers of a connection take
HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"


async def echo(scope, receive, send):
    """Answers with the length of the body, or with 32 MiB to whoever asks for them."""
    if scope["type"] != "http":
        return
    event, length = {"more_body": True}, 0
    while event.get("more_body"):
        event = await receive()
        length += len(event.get("body", b""))
    body = bytes(LARGE) if scope["path"] == "/large" else b"%d" % length
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def connect(monkeypatch):
    monkeypatch.setattr(slow_clients, "SEND_SECONDS", 0.3)
    monkeypatch.setattr(slow_clients, "TAKE_SECONDS", 0.3)
    config = uvicorn.Config(echo, port=0, http=ImpatientProtocol, lifespan="off", ws="none", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    opened = []

    def one():
        opened.append(socket.create_connection(server.servers[0].sockets[0].getsockname(), timeout=5))
        return opened[-1]

    yield one
    for connection in opened:
        connection.close()
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("sent", [b"", HEAD[:20], HEAD, HEAD + b"abc"])
def test_a_request_that_is_never_whole_is_told_so_and_closed(connect, sent):
    connection = connect()
    connection.sendall(sent)
    assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
    assert connection.recv(100) == b""


def test_a_kept_connection_is_closed_when_its_second_request_is_never_whole(connect):
    connection = connect()
    connection.sendall(HEAD + b"abcd")
    assert connection.recv(1000).endswith(b"4")
    time.sleep(0.5)  # idle between requests is no fault of the client
    connection.sendall(HEAD)
    assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_request_in_pieces_that_is_whole_in_time_is_answered(connect):
    connection = connect()
    for part in (HEAD[:9], HEAD[9:], b"ab", b"cd"):
        connection.sendall(part)
        time.sleep(0.02)
    assert connection.recv(1000).endswith(b"4")


def test_an_answer_that_is_not_taken_is_cut_off(connect):
    connection = connect()
    connection.sendall(HEAD.replace(b" / ", b" /large ") + b"abcd")
    time.sleep(0.8)
    taken = 0
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            taken += len(part)
    assert taken < LARGE
