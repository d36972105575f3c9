"""The server process drains what it answered when it is told to stop."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from poplift.settings import Settings

PROGRAM = """
import importlib.util, sys
from pathlib import Path
from poplift.settings import load_settings
from serving.run import run

spec = importlib.util.spec_from_file_location("stores", sys.argv[1])
stores = importlib.util.module_from_spec(spec)
sys.modules["stores"] = stores
spec.loader.exec_module(stores)
run(load_settings(home=Path(sys.argv[2]), api_port=int(sys.argv[3])), reader=stores.MemoryStore.filled())
"""


def test_sigterm_loses_no_decision_that_was_answered(settings: Settings, active: Any, free_port: int) -> None:
    stores = Path(__file__).with_name("conftest.py")
    arguments = [sys.executable, "-c", PROGRAM, str(stores), str(settings.home), str(free_port)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    served: list[str] = []
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{free_port}", timeout=5) as client:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None, process.stdout.read()
                assert time.monotonic() < deadline, "the server did not start"
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.ConnectError:
                    time.sleep(0.05)
            for _ in range(20):
                answer = client.get("/v1/recommendations/367").json()
                served += [item["decision_id"] for item in answer["recommendations"]]
            process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    files = list(settings.decisions_dir.glob("*.jsonl"))
    logged = [json.loads(line)["decision_id"] for file in files for line in file.read_text().splitlines()]
    assert sorted(logged) == sorted(served)
    requests = [json.loads(line) for line in output.splitlines() if '"event": "request"' in line]
    assert len([r for r in requests if r["route"] == "/v1/recommendations/{outlet_id}"]) == 20
    assert all(r["request_id"] for r in requests)
