"""What a challenger in the shadow costs the requests it stands beside: the same server with and without it, in turn."""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from measure import Result
from server_process import Server
from serving_home import PPGS, home, outlets, release

from flows.api_process import free_port
from poplift.settings import Settings, child_environment
from serving.pointer import Placed, place, read_pointer, remove

OUTLETS = 40
CALLS = 150
MOST = 1.25
FOLLOWS_SECONDS = 30
WITHOUT, WITH = "champion alone", "challenger in the shadow"
PACES = {"216 rows": 20, "one row": 50}  # requests a second: about a third of what one core can answer twice
Ask = Callable[[int], None]


def main(blocks: int) -> None:
    """Measure both arms in interleaved blocks, look whether the shadow answered everything, and keep the result."""
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {1})  # the client; the server has core 0
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as name, ExitStack() as running:
        settings = home(Path(name) / "home", count=OUTLETS, database_prefix="bench")
        rival = release(settings, Path(name) / "rival", big={"rounds": 280, "leaves": 63}).id
        server = started(running, settings)
        rows, met = [], True
        for what, ask in asks(server).items():
            taken: dict[str, list[tuple[list[float], float]]] = {WITHOUT: [], WITH: []}
            for block in range(blocks):
                for arm in (WITHOUT, WITH) if block % 2 == 0 else (WITH, WITHOUT):
                    stand(settings, server, rival if arm == WITH else None)
                    taken[arm].append(paced(server, ask, rate=PACES[what]))
            rows += [line(f"{what}, {PACES[what]} a second", arm, taken[arm]) for arm in taken]
            met &= quantile(taken[WITH], 0.99) <= MOST * quantile(taken[WITHOUT], 0.99)
        answered, dropped = counted(server, "shadow_rows"), counted(server, "shadow_dropped")
        # a recommendation of every ppg and a demand row, of every call of its arm and of the calls that warm up
        if dropped or answered < blocks * CALLS * (len(PPGS) + 1):
            raise RuntimeError(f"the shadow answered {answered:.0f} rows and dropped {dropped:.0f}")
    Result(
        name="shadow",
        goal=f"p99 with a challenger in the shadow at most {MOST} times that without, one worker on one core",
        met=met,
        columns=("what", "arm", "p50 ms", "p99 ms", "CPU ms a request"),
        rows=tuple(rows),
    ).save()


def started(running: ExitStack, settings: Settings) -> Server:
    """`poplift serve` with one worker."""
    port = free_port()
    environment = child_environment(settings, POPLIFT_API_PORT=str(port), OMP_NUM_THREADS="1")
    command = (sys.executable, "-m", "flows.cli", "serve")
    return Server(running, command, environment, port=port, probe="/readyz")


def asks(server: Server) -> dict[str, Ask]:
    """The two questions, by the number of the call."""
    names = outlets(OUTLETS)
    bodies = [json.dumps({"rows": [{"outlet_id": outlet, "ppg_id": PPGS[0]}]}).encode() for outlet in names]

    def recommend(number: int) -> None:
        server.raw("GET", f"/v1/recommendations/{names[number % OUTLETS]}?limit={len(PPGS)}")

    def demand(number: int) -> None:
        server.raw("POST", "/v1/demand", bodies[number % OUTLETS])

    return {"216 rows": recommend, "one row": demand}


def stand(settings: Settings, server: Server, rival: str | None) -> None:
    """Put the challenger in the shadow, or take it away, and wait until the server says so."""
    champion = str(read_pointer(settings.releases_dir)["id"])
    if rival is None:
        if standing_one := standing(server):
            remove(settings.releases_dir, standing_one)
    else:
        place(settings.releases_dir, Placed(rival), beside=champion)
    deadline = time.monotonic() + FOLLOWS_SECONDS
    while standing(server) != rival:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the server does not follow: {standing(server)} is not {rival}")
        time.sleep(0.1)


def standing(server: Server) -> str | None:
    """The challenger that the server has."""
    server.wake()
    found = server.ask("GET", "/version")["challenger_id"]
    return None if found is None else str(found)


def counted(server: Server, name: str) -> float:
    """A counter of the server."""
    found = re.search(rf"^poplift_{name}_total (\S+)$", server.raw("GET", "/metrics").decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def paced(server: Server, ask: Ask, *, rate: int) -> tuple[list[float], float]:
    """Wall seconds of calls that begin at a fixed pace, and CPU seconds of a call; what warms up is not counted."""
    for number in range(OUTLETS):
        ask(number)
    settle(server)
    before, began, taken = server.cpu_seconds(), time.perf_counter(), []
    for number in range(CALLS):
        due = began + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        asked = time.perf_counter()
        ask(number)
        taken.append(time.perf_counter() - asked)
    settle(server)
    return taken, (server.cpu_seconds() - before) / CALLS


def settle(server: Server) -> None:
    """Wait until the shadow has answered what waited."""
    before = -1.0
    while (now := counted(server, "shadow_rows")) != before:
        before = now
        time.sleep(0.5)


def quantile(blocks: list[tuple[list[float], float]], share: float) -> float:
    """Of the wall seconds of all calls."""
    return float(np.quantile(np.concatenate([taken for taken, _ in blocks]), share))


def line(what: str, arm: str, blocks: list[tuple[list[float], float]]) -> tuple[str, ...]:
    """One line of the table."""
    times = [f"{quantile(blocks, share) * 1e3:.2f}" for share in (0.5, 0.99)]
    return (what, arm, *times, f"{np.mean([cpu for _, cpu in blocks]) * 1e3:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=6)
    main(parser.parse_args().blocks)
