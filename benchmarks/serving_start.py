"""The API from start to first correct prediction, beside a process with feast, mlflow, pandas and lightgbm."""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mlflow.lightgbm
import numpy as np
from measure import COLUMNS, Result, Sample, interleaved, interval, line, process
from serving_home import PPGS, home, outlets

from flows.api_process import free_port
from poplift.settings import Settings, child_environment
from serving.boosters import Booster
from serving.current import load_current

FASTER, MOST_MEGABYTES = 5, 200
START_SECONDS = 60
PEER, OURS = "imports, model and one prediction in process", "poplift serve, one prediction over HTTP"
PROGRAM = """
import json, sys
import feast, lightgbm, mlflow.lightgbm, pandas
model = mlflow.lightgbm.load_model(sys.argv[1])
row = pandas.read_json(sys.argv[2], orient="split", precise_float=True)
assert model.predict(row, num_threads=1).tolist() == [float(sys.argv[3])]
"""


def main(blocks: int) -> None:
    """Measure both in interleaved blocks and keep the result."""
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as name:
        folder = Path(name)
        settings = home(folder / "home", count=2, database_prefix="bench")
        entity = {"outlet_id": outlets(1)[0], "ppg_id": PPGS[0]}
        expected, peer = prepared(settings, folder, entity)
        samples = interleaved(
            {PEER: lambda: process(peer), OURS: lambda: ours(settings, entity, expected)}, blocks=blocks
        )
    seconds = {arm: [sample.seconds for sample in taken] for arm, taken in samples.items()}
    middle, low, high = interval(seconds[PEER], seconds[OURS], in_turns=True)
    most = max(sample.megabytes for sample in samples[OURS])
    Result(
        name="serving_start",
        goal=f"first correct prediction at least {FASTER} times sooner, by the lower end of the 95 % interval, and at "
        f"most {MOST_MEGABYTES} MB resident",
        met=low >= FASTER and most <= MOST_MEGABYTES,
        columns=(*COLUMNS, "times sooner"),
        rows=(
            (*line(PEER, samples[PEER]), "1"),
            (*line(OURS, samples[OURS]), f"{middle:.1f} ({low:.1f}–{high:.1f})"),
        ),
    ).save()


def prepared(settings: Settings, folder: Path, entity: dict[str, str]) -> tuple[float, list[str]]:
    """The prediction both must give, computed from features read once, and the peer's command line."""
    import lightgbm

    release = load_current(settings.releases_dir)
    _, _, inputs = answered(settings, entity)
    model = release.folder / "transactions.lgb"
    rows = np.array([[inputs[name] for name in release.features]])
    expected = float(Booster(model.read_text()).predict(rows)[0])
    mlflow.lightgbm.save_model(lightgbm.Booster(model_file=str(model)), str(folder / "model"))
    split = {"columns": list(release.features), "index": [0], "data": rows.tolist()}
    (folder / "row.json").write_text(json.dumps(split))
    return expected, ["-W", "ignore", "-c", PROGRAM, str(folder / "model"), str(folder / "row.json"), repr(expected)]


def ours(settings: Settings, entity: dict[str, str], expected: float) -> Sample:
    """Seconds from the start of the process to an answer with this prediction; memory after it."""
    sample, got, _ = answered(settings, entity)
    if got != expected:
        raise AssertionError(f"{got} was answered, {expected} is right")
    return sample


def answered(settings: Settings, entity: dict[str, str]) -> tuple[Sample, float, dict[str, float]]:
    """Start the API, ask until it answers, stop it: the measure, the prediction, and its logged model inputs."""
    port = free_port()
    command = [sys.executable, "-m", "flows.cli", "serve"]
    environment = child_environment(settings, POPLIFT_API_PORT=str(port))
    before = set(settings.decisions_dir.glob("*.jsonl"))
    began = time.perf_counter()
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        answer = first_answer(port, entity, began + START_SECONDS)
        seconds = time.perf_counter() - began
        peak = next(text for text in Path(f"/proc/{server.pid}/status").read_text().splitlines() if "VmHWM" in text)
    finally:
        server.terminate()
        server.wait(20)
    (logged,) = set(settings.decisions_dir.glob("*.jsonl")) - before
    features = json.loads(logged.read_text().splitlines()[0])["features"]
    return Sample(seconds, int(peak.split()[1]) / 1024), answer["rows"][0]["transactions"], features


def first_answer(port: int, entity: dict[str, str], deadline: float) -> Any:
    """Ask until somebody answers."""
    while time.perf_counter() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            body = json.dumps({"rows": [entity]})
            connection.request("POST", "/v1/demand", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        except OSError:
            time.sleep(0.01)
            continue
        if answer.status == http.client.OK:
            return json.loads(content)
    raise RuntimeError("the API did not answer in time")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=10)
    main(parser.parse_args().blocks)
