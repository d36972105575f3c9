"""A read of Redis gives up in time, even where something always comes but never all of it."""

import socket
import threading
import time
from contextlib import suppress

import pytest
from redis import Redis, exceptions

from feature_repo.online.reading_redis import hear


@pytest.fixture
def trickle():
    """A server that answers everything with a string that never ends, a byte at a time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def serve():
            taken, _ = server.accept()
            with taken, suppress(OSError):  # the client leaves
                taken.recv(4096)
                taken.sendall(b"$1000000\r\n")
                while not over.wait(0.02):
                    taken.sendall(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        over.set()
        thread.join()


def test_an_answer_that_never_ends_is_given_up_although_each_part_comes_in_time(trickle):
    client = Redis(port=trickle, socket_timeout=0.1, protocol=2, driver_info=None, retry=None)
    connection = client.connection_pool.make_connection()
    connection.connect()
    began = time.monotonic()
    with pytest.raises(exceptions.TimeoutError, match="did not send its whole answer in time"):
        hear(connection, b"PING\r\n", 1, seconds=0.2)
    assert time.monotonic() - began < 2


@pytest.fixture
def scripted():
    """A server that sends the parts it was given, one after the other, whatever is asked; and a connection to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        parts = []

        def serve():
            with suppress(OSError):
                taken, _ = server.accept()
                with taken:
                    while taken.recv(4096):
                        while parts:
                            taken.sendall(parts.pop(0))
                            time.sleep(0.02)  # so that each is received by itself

        thread = threading.Thread(target=serve)
        thread.start()
        client = Redis(port=server.getsockname()[1], socket_timeout=2, protocol=2, driver_info=None, retry=None)
        connection = client.connection_pool.make_connection()
        connection.connect()
        yield parts, connection
        connection.disconnect()
        thread.join()


SAID = b"$5\r\nhello\r\n*2\r\n:1\r\n$2\r\nab\r\n"


@pytest.mark.parametrize("cut", [len(SAID), 1, 9, len(SAID) - 1])
def test_bytes_that_were_said_before_are_told_from_others_however_they_arrive(scripted, cut):
    parts, connection = scripted
    for said, answers in {
        SAID: None,
        SAID.replace(b"hello", b"hallo"): [b"hallo", [1, b"ab"]],
        SAID.replace(b":1", b":2"): [b"hello", [2, b"ab"]],
        SAID.replace(b"$2\r\nab", b"$1\r\na"): [b"hello", [1, b"a"]],
        SAID.replace(b"$2\r\nab", b"$3\r\nabc"): [b"hello", [1, b"abc"]],
    }.items():
        parts[:] = [part for part in (said[:cut], said[cut:]) if part]
        heard = hear(connection, b"PING\r\n", 2, unless=SAID)
        assert (heard and heard.answers) == answers
        assert heard is None or heard.said == said


def test_an_answer_that_breaks_off_is_an_error_of_the_connection_also_where_it_began_as_before(scripted):
    parts, connection = scripted
    parts[:] = [SAID[:9]]
    threading.Timer(0.2, lambda: connection._sock.shutdown(socket.SHUT_RD)).start()
    with pytest.raises(exceptions.ConnectionError, match="closed the connection"):
        hear(connection, b"PING\r\n", 2, unless=SAID)
