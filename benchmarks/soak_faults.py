"""A service of its own with two workers and a Redis, and everything that is done to it."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis_server import RedisServer
from serving_home import write
from soak_invariants import BROKEN, DEGRADED, UNKNOWN, Fault

from poplift.settings import Settings, child_environment
from serving.current import activate, read_pointer
from serving.rollback import roll_back

WORKERS = 2
START_SECONDS = 60
SMALL_FILE_BYTES = 2048  # no line of the decision log fits into it
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


class Api:
    """`poplift serve --workers 2`, its lines counted by event, its workers' memory watched."""

    def __init__(self, settings: Settings) -> None:
        command = [sys.executable, "-m", "flows.cli", "serve", "--workers", str(WORKERS)]
        self._process = subprocess.Popen(
            command, env=child_environment(settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.address = f"http://127.0.0.1:{settings.api_port}"
        self.events: Counter[str] = Counter()
        self.last_lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            line = raw.decode(errors="replace").rstrip()
            event = _event(line)
            if event == "request":
                continue
            self.events.update([event] if event else [])
            self.last_lines = [*self.last_lines[-200:], line]

    def workers(self) -> list[int]:
        """Process ids of the workers, the oldest first; multiprocessing keeps a helper beside them."""
        pid = self._process.pid
        with suppress(FileNotFoundError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]
        return []

    def memory_mb(self) -> dict[int, float]:
        """Resident memory of every worker."""
        found = {}
        for pid in self.workers():
            with suppress(FileNotFoundError):
                found[pid] = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MB
        return found

    def is_ready(self) -> bool:
        """Whether all workers are there and answer."""
        if self._process.poll() is not None:
            raise RuntimeError("the API ended:\n" + "\n".join(self.last_lines[-20:]))
        with suppress(httpx.HTTPError):
            answers = [httpx.get(f"{self.address}/readyz", timeout=5).status_code for _ in range(6)]
            return len(self.workers()) == WORKERS and set(answers) == {200}
        return False

    def metrics(self) -> str:
        """What /metrics tells."""
        return httpx.get(f"{self.address}/metrics", timeout=10).text

    def stop(self) -> None:
        """Tell it to stop, and wait until it has."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise RuntimeError("the API did not stop within 40 s of SIGTERM") from None
        finally:
            self._reading.join(5)

    def kill(self) -> None:
        """End it and its workers, whatever state it is in."""
        for pid in [*self.workers(), self._process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


def _event(line: str) -> str:
    """Name of the application's event; empty for a line of its libraries."""
    try:
        found = json.loads(line)
    except ValueError:
        return ""
    return str(found["event"]) if "logger" not in found else ""


@dataclass
class Service:
    """What the faults are done to, and what is kept of it: when which release was activated, and when was killed."""

    settings: Settings
    outlets: tuple[str, ...]
    releases: tuple[str, ...]
    redis: RedisServer
    api: Api
    now: Callable[[], float]
    draw: random.Random
    activated: list[tuple[float, str]] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)

    def freeze_redis(self) -> None:
        """Redis takes connections and does not answer."""
        self.redis.signal(signal.SIGSTOP)
        time.sleep(self.draw.uniform(1.0, 4.0))
        self.redis.signal(signal.SIGCONT)

    def restart_redis(self) -> None:
        """Redis is gone for a while, comes back empty, and is filled again."""
        self.redis.stop()
        time.sleep(self.draw.uniform(0.5, 3.0))
        self.redis.start()
        write(self.settings, self.outlets)

    def flush_redis(self) -> None:
        """Redis loses everything, and is filled again."""
        self.redis.client.flushall()
        time.sleep(self.draw.uniform(0.5, 2.0))
        write(self.settings, self.outlets)

    def kill_worker(self) -> None:
        """The younger worker dies without a word; the older one's memory is watched for as long as possible."""
        os.kill(self.api.workers()[-1], signal.SIGKILL)
        self.kills.append(self.now())

    def activate_release(self) -> None:
        """Another release is activated."""
        current = read_pointer(self.settings.releases_dir)["id"]
        other = next(r for r in self.releases if r != current)
        activate(other, releases_dir=self.settings.releases_dir)
        self.activated.append((self.now(), other))

    def roll_back(self) -> None:
        """The previous release is put back."""
        self.activated.append((self.now(), roll_back(self.settings, who="soak", why="drill").release_id))

    def fill_disk(self) -> None:
        """No worker may write a file beyond a few bytes, as on a full disk."""
        workers = self.api.workers()
        before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in workers}
        for pid, (_, hard) in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (SMALL_FILE_BYTES, hard))
        time.sleep(self.draw.uniform(1.5, 3.0))
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


FAULTS: Mapping[str, tuple[Callable[[Service], None], frozenset[str]]] = {
    "Redis frozen": (Service.freeze_redis, frozenset({DEGRADED})),
    "Redis restarted empty": (Service.restart_redis, frozenset({DEGRADED, UNKNOWN})),
    "Redis flushed": (Service.flush_redis, frozenset({DEGRADED, UNKNOWN})),
    "worker killed": (Service.kill_worker, frozenset({BROKEN})),
    "release activated": (Service.activate_release, frozenset()),
    "release rolled back": (Service.roll_back, frozenset()),
    "decision log's disk full": (Service.fill_disk, frozenset()),
}


def decks(draw: random.Random) -> Iterator[str]:
    """Names of faults without end: every one once, in an order of chance, and again in another."""
    while True:
        yield from draw.sample(list(FAULTS), len(FAULTS))


def inflict(name: str, service: Service) -> Fault:
    """Do it, and say when it began and ended and what it explains."""
    act, explains = FAULTS[name]
    began = service.now()
    act(service)
    return Fault(name, began, service.now(), explains)


@contextmanager
def running(start: Callable[[], Api]) -> Iterator[Api]:
    """An API whose processes are gone afterwards, whatever happened."""
    api = start()
    try:
        wait_until(api.is_ready, "the API to be ready")
        yield api
    finally:
        api.kill()


def wait_until(holds: Callable[[], bool], what: str, *, seconds: float = START_SECONDS) -> None:
    """Wait; TimeoutError that says what for."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.05)
