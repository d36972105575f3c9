"""A Redis of a benchmark's own, without persistence: what is started again is empty."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from flows.api_process import free_port

START_SECONDS = 60


class RedisServer:
    """One server; raises FileNotFoundError where none is installed, TimeoutError where it does not answer."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise FileNotFoundError("redis-server is not installed: a benchmark starts its own")
        self.port = free_port()
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(folder)]
        self._command = [program, *options]
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        self.client = redis.Redis(port=self.port, socket_timeout=5)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"redis-server did not answer on port {self.port}")
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Freeze it or let it go on."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it, also when it is frozen."""
        self.client.close()
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        with suppress(redis.ConnectionError):
            return bool(self.client.ping())
        return False


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """host:port of such a server."""
    server = RedisServer(folder)
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        server.stop()
