"""A read of Redis gives up in time, even where something always comes but never all of it."""

import socket
import threading
import time
from contextlib import suppress

import pytest
from redis import Redis, exceptions

from feature_repo.online.reading_redis import answers


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
    with pytest.raises(exceptions.TimeoutError, match=r"no whole answer within 0\.2 s"):
        answers(connection, b"PING\r\n", 1, seconds=0.2)
    assert time.monotonic() - began < 2
