"""A server under measurement: a process and its children on core 0, asked over one kept connection."""

import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

START_SECONDS = 120
TICK = os.sysconf("SC_CLK_TCK")


class Server:
    """A process and its children on core 0, and one connection to it that is kept."""

    def __init__(
        self,
        running: ExitStack,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        port: int,
        probe: str,
        key: str | None = None,
    ) -> None:
        self._process = running.enter_context(_started(command, environment))
        self._port, self._probe = port, probe
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        deadline = time.monotonic() + START_SECONDS
        while not self.wake():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} did not start")
            time.sleep(0.2)

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """The answer; raises RuntimeError when it is not 200."""
        return json.loads(self.raw(method, path, body))

    def raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The bytes of the answer."""
        headers = {**self._headers, "Content-Type": "application/json"} if body else self._headers
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {content[:300]!r}")
        return content

    def cpu_seconds(self) -> float:
        """Of the process and all of its descendants."""
        return sum(_cpu_ticks(pid) for pid in _family(self._process.pid)) / TICK

    def wake(self) -> bool:
        """Connect anew, since a server closes what was idle for seconds; False while it does not answer."""
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            self.raw("GET", self._probe)
        except (OSError, RuntimeError):
            return False
        return True


@contextmanager
def _started(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.sched_setaffinity(0, ours)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += _family(int(child))
    return found


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
