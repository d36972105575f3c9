"""Two processes behind one port: counted together, logged together, and one of them may die."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from poplift.settings import child_environment
from tests.served_home import KNOWN, served_home
from tests.unit.serving.conftest import train

pytestmark = pytest.mark.slow


@pytest.fixture
def workers(small_home, tmp_path, free_port):
    """Settings, base address and the supervisor of a server with two workers that are ready."""
    settings = served_home(small_home.settings, tmp_path / "var", train(tmp_path / "demand"))
    command = [sys.executable, "-m", "flows.cli", "serve", "--workers", "2"]
    environment = child_environment(settings, POPLIFT_API_PORT=str(free_port))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            address = f"http://127.0.0.1:{free_port}"
            wait_until(lambda: len(pids(process)) == 2 and ready(address), (tmp_path / "log").read_text)
            yield settings, address, process
        finally:
            process.terminate()
            process.wait(20)


def wait_until(holds, text=lambda: ""):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, text()
        time.sleep(0.05)


def ready(address):
    with contextlib.suppress(httpx.HTTPError):
        return all(httpx.get(f"{address}/readyz", timeout=5).status_code == 200 for _ in range(6))
    return False


def pids(process):
    """Of the workers: children of the supervisor that listen; multiprocessing keeps a helper beside them."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    with contextlib.suppress(FileNotFoundError):
        return [pid for pid in path.read_text().split() if b"spawn_main" in command_of(pid)]
    return []


def command_of(pid):
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def counted(address, name):
    text = httpx.get(f"{address}/metrics", timeout=5).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def ask(address, times):
    """A connection each time, so that both workers get their share; returns the ids of the decisions."""
    ids = []
    for _ in range(times):
        answer = httpx.post(f"{address}/v1/demand", json={"rows": [KNOWN]}, timeout=5)
        assert answer.status_code == 200, answer.text
        ids.append(answer.json()["rows"][0]["decision_id"])
    return ids


def logged(settings):
    files = list(settings.decisions_dir.glob("*.jsonl"))
    return [json.loads(line)["decision_id"] for file in files for line in file.read_text().splitlines()], len(files)


DEMANDS = 'poplift_http_requests_total{method="POST",route="/v1/demand",status="200"}'


def test_any_worker_tells_what_all_have_counted_and_every_decision_is_logged_once(workers):
    settings, address, process = workers
    ids = ask(address, 60)
    assert {counted(address, DEMANDS) for _ in range(10)} == {60.0}
    assert counted(address, "poplift_answers_total{degraded") == 60.0
    for stage in ("feature_read", "model", "answer"):
        assert counted(address, f'poplift_stage_duration_seconds_count{{stage="{stage}"}}') == 60.0
    assert counted(address, "poplift_release_info{") == 1.0
    assert counted(address, "poplift_cost_per_million_decisions_usd ") > 0
    seen = [counted(address, "poplift_process_cpu_seconds_total") for _ in range(5)]
    assert seen == sorted(seen)  # whichever worker tells
    assert counted(address, "poplift_http_requests_in_flight") == 1.0  # the one that asks
    process.terminate()
    process.wait(20)
    decisions, files = logged(settings)
    assert sorted(decisions) == sorted(ids)
    assert files == 2


def test_a_killed_worker_is_replaced_while_the_other_answers_and_nothing_counted_is_forgotten(workers):
    _, address, process = workers
    ask(address, 20)
    before = pids(process)
    os.kill(int(before[0]), signal.SIGKILL)
    ask(address, 20)
    wait_until(lambda: len(pids(process)) == 2 and before[0] not in pids(process))
    wait_until(lambda: ready(address))
    ask(address, 20)
    assert counted(address, DEMANDS) == 60.0
    assert counted(address, "poplift_http_requests_in_flight") == 1.0


def test_a_restart_of_all_workers_fails_no_request(workers):
    settings, address, process = workers
    before, ids, done = pids(process), [], threading.Event()

    def keep_asking():
        while not done.is_set():
            ids.extend(ask(address, 1))

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(pids(process)) == 2 and not set(before) & set(pids(process)))
        wait_until(lambda: ready(address))
    finally:
        done.set()
        asking.join()
    assert counted(address, DEMANDS) == len(ids)
    process.terminate()
    process.wait(20)
    assert sorted(logged(settings)[0]) == sorted(ids)
