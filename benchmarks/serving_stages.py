"""Where the milliseconds of an answer go, as /metrics of the API tells them: asked the first time, and again."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from measure import Result
from prometheus_client.parser import text_string_to_metric_families
from redis_server import redis_server
from server_process import Server
from serving_home import PPGS, home, outlets

from flows.api_process import free_port
from poplift.settings import child_environment
from serving.stages import Stage

STAGES = get_args(Stage)
SHARE = 0.1
FIRST, AGAIN, ONE = "216 rows, asked the first time", "216 rows, asked again", "one row, asked again"


def main(count: int) -> None:
    """Ask one server everything in turn and keep what it took."""
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {1})  # the client and Redis; the server has core 0
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as name, ExitStack() as running:
        address = running.enter_context(redis_server(Path(name)))
        settings = home(Path(name) / "home", count=count, redis_url=address, database_prefix="bench")
        port = free_port()
        environment = child_environment(settings, POPLIFT_API_PORT=str(port), OMP_NUM_THREADS="1")
        server = Server(running, (sys.executable, "-m", "flows.cli", "serve"), environment, port=port, probe="/readyz")

        def recommend(outlet: str) -> None:
            server.raw("GET", f"/v1/recommendations/{outlet}?limit=10")

        def demand(outlet: str) -> None:
            body = {"rows": [{"outlet_id": outlet, "ppg_id": PPGS[0]}]}
            server.raw("POST", "/v1/demand", json.dumps(body).encode())

        names = outlets(count)
        taken = {FIRST: asked(server, recommend, names), AGAIN: asked(server, recommend, names * 5)}
        asked(server, demand, names)
        taken[ONE] = asked(server, demand, names * 10)
    remembered = computed(taken[AGAIN]) / computed(taken[FIRST])
    Result(
        name="serving_stages",
        goal=f"asked again, the trees and the reasons take at most {SHARE:.0%} of the first time; milliseconds an "
        "answer, of the stages by the clock",
        met=remembered <= SHARE,
        columns=("what", *STAGES, "processor, with HTTP and log"),
        rows=tuple((what, *(f"{value:.2f}" for value in parts.values())) for what, parts in taken.items()),
    ).save()


def asked(server: Server, ask: Callable[[str], None], names: tuple[str, ...]) -> dict[str, float]:
    """Milliseconds an answer: of every stage by the clock, and of the processor in all."""
    server.wake()
    before, cpu = spent(server), server.cpu_seconds()
    for outlet in names:
        ask(outlet)
    after, cpu = spent(server), server.cpu_seconds() - cpu
    parts = {stage: (after.get(stage, 0.0) - before.get(stage, 0.0)) / len(names) * 1e3 for stage in STAGES}
    return {**parts, "processor": cpu / len(names) * 1e3}


def spent(server: Server) -> dict[str, float]:
    """Seconds of every stage since the start of the server."""
    families = text_string_to_metric_families(server.raw("GET", "/metrics").decode())
    return {
        sample.labels["stage"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "poplift_stage_duration_seconds_sum"
    }


def computed(parts: Mapping[str, float]) -> float:
    """What is remembered the second time."""
    return parts["model"] + parts["explain"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outlets", type=int, default=60)
    main(parser.parse_args().outlets)
