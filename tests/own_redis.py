"""A Redis that belongs to one test: it may be filled, stopped, killed, frozen, and started again."""

import contextlib
import shutil
import signal
import subprocess
import time

import pytest
import redis

from flows.api_process import free_port

START_SECONDS = 10


class OwnRedis:
    """Keeps on disk what its `options` say, else only what `stop` saves; skips the test where no Redis is installed."""

    def __init__(self, folder, *options):
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed: this test starts its own")
        self.port = free_port()
        self.url = f"127.0.0.1:{self.port}"
        self.client = redis.Redis(port=self.port, socket_timeout=10)
        self._command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(folder)]
        self._command += options
        self.start()

    def start(self):
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"redis-server did not come up on port {self.port}")
            time.sleep(0.02)

    def stop(self):
        self.client.save()
        self.process.terminate()
        self.process.wait(10)

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.client.close()
        self.kill()

    def reads(self):
        """How many hashes were read so far."""
        stats = self.client.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("hgetall", "hmget"))

    def _answers(self):
        with contextlib.suppress(redis.RedisError):
            return self.client.ping()
        return False
