"""`poplift serve` in a process of its own, asked by many clients at once."""

import contextlib
import http.client
import json
import os
import resource
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from flows.api_process import free_port
from poplift.settings import child_environment
from tests.served_home import KNOWN

DEMAND = {"rows": [KNOWN]}
RECOMMENDATIONS = f"/v1/recommendations/{KNOWN['outlet_id']}"
DEADLINE = 2.0  # of a read, in seconds
RECOVERY = 5.0  # from a store that is back to answers that say so


def wait_until(holds, *, seconds=60, text=lambda: ""):
    """Seconds it took until it held."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, text()
        time.sleep(0.02)
    return time.monotonic() - began


class Api:
    """One `poplift serve`; `with` ends it."""

    def __init__(self, settings, *arguments, **environment):
        self.settings = settings
        self.address = f"http://127.0.0.1:{(port := free_port())}"
        self.log = settings.home / "api.log"
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "serve", *arguments],
            env=child_environment(settings, POPLIFT_API_PORT=str(port), **environment),
            stdout=subprocess.PIPE,  # not the file itself: a limit on files would stop the lines of the log too
            stderr=subprocess.STDOUT,
        )
        self._copying = threading.Thread(target=self._copy)
        self._copying.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(25)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._copying.join(10)

    def _copy(self):
        with self.log.open("ab", buffering=0) as log:
            while part := self.process.stdout.read1():
                log.write(part)
        self.process.stdout.close()

    def ended(self):
        """Lines of the log that are JSON, once the process has ended."""
        self.process.wait(25)
        self._copying.join(10)
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def get(self, path="/readyz"):
        return httpx.get(f"{self.address}{path}", timeout=10)

    def answers(self, path="/readyz"):
        """Status and body, or nothing while nobody listens."""
        with contextlib.suppress(httpx.TransportError):
            answer = self.get(path)
            return answer.status_code, answer.json()
        return None, {}

    def wait_until_ready(self):
        return wait_until(lambda: self.answers()[0] == 200, text=self.log.read_text)

    def metric(self, name):
        text = self.get("/metrics").text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))

    def threads(self):
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def limit_files_to(self, size):
        """What a full disk does: no file of the process may grow beyond `size` bytes; None takes it back."""
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(
            self.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY if size is None else size, hard)
        )


@dataclass
class Load:
    """Clients that ask one after the other until told to stop; `answers` has (sent at, seconds, status, body)."""

    api: Api
    clients: int = 4
    pause: float = 0.0
    answers: list = field(default_factory=list)
    failures: list = field(default_factory=list)

    def __enter__(self):
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def since(self, began):
        return [answer for answer in list(self.answers) if answer[0] >= began]

    def _ask(self):
        with httpx.Client(base_url=self.api.address, timeout=20) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    answer = client.get(RECOMMENDATIONS)
                except httpx.TransportError as error:
                    self.failures.append((began, error))
                    time.sleep(0.02)
                else:
                    self.answers.append((began, time.monotonic() - began, answer.status_code, answer.json()))
                time.sleep(self.pause)


def is_degraded(api):
    return api.get(RECOMMENDATIONS).json()["degraded"]


def outage(api, load, *, breaks, mends):
    """Take the store away under load, give it back; how many seconds until answers said so, and no longer did."""
    breaks()
    broken = wait_until(lambda: is_degraded(api), seconds=DEADLINE * 2)
    during = len(load.answers)
    wait_until(lambda: len(load.answers) > during + 300)
    assert api.get("/readyz").json()["status"] == "degraded"
    assert api.metric("poplift_online_store_breaker_open") == 1
    mends()
    return {"degraded": broken, "mended": wait_until(lambda: not is_degraded(api), seconds=RECOVERY)}


def decisions_of(answers):
    """Ids of all recommendations in the bodies of answers."""
    return [item["decision_id"] for *_, status, body in answers if status == 200 for item in body["recommendations"]]


def ask_at_once(api, clients):
    """Status and headers of one request of that many clients, all connected before."""
    together = threading.Barrier(clients)

    def ask(_):
        connection = http.client.HTTPConnection(api.address.removeprefix("http://"), timeout=20)
        connection.connect()
        together.wait()
        connection.request("GET", RECOMMENDATIONS)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, answer.headers

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(ask, range(clients)))
