"""Ten minutes of load on two workers while stores, processes, releases and disks fail, and what held meanwhile."""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import prometheus_client  # noqa: F401 - decides at import where counters live, and Feast would send it astray
from measure import Result
from redis_server import RedisServer
from rich.console import Console
from rich.table import Table
from serving_home import PPGS, fill, outlets, release
from soak_faults import Api, Service, decks, inflict, running, wait_until
from soak_invariants import RECOVERY_SECONDS, RIGHT, Fault, Observed, Verdict, explains, judge, recovery
from soak_load import Load, questions, references

from flows.api_process import free_port
from flows.quiet import quieten
from poplift.settings import Settings, load_settings
from serving.cost import spent
from serving.current import activate
from serving.online import FeastReader

OUTLETS = 24
SIZES = {"rounds": 40, "leaves": 31}, {"rounds": 60, "leaves": 31}  # of the two releases
SAMPLE_SECONDS = 1.0
KEPT_MINUTES = 10.0  # a shorter run shows less and is not kept


def main(minutes: float, seed: int) -> int:
    """Run, judge, print; 0 when every invariant held."""
    quieten()
    with tempfile.TemporaryDirectory(prefix="poplift-soak-") as name:
        folder = Path(name)
        redis = RedisServer(folder)
        try:
            seen, cost, events = soak(folder, redis, seconds=minutes * 60, seed=seed)
        finally:
            redis.stop()
    verdicts = judge(seen)
    show(seen, verdicts, f"seed {seed}, {minutes:g} minutes; {cost}; logged beside requests: {events or 'nothing'}")
    if minutes >= KEPT_MINUTES:
        result(seen, verdicts, f"{minutes:g} minutes, seed {seed}").save()
    return 0 if all(verdict.held for verdict in verdicts) else 1


def soak(folder: Path, redis: RedisServer, *, seconds: float, seed: int) -> tuple[Observed, str, str]:
    """Everything seen while faults follow each other; what a decision cost; what the log holds beside requests."""
    settings = _settings(folder, redis)
    names = outlets(OUTLETS)
    fill(settings, names)
    releases = tuple(release(settings, folder / f"model-{n}", big=size).id for n, size in enumerate(SIZES))
    for release_id in releases:  # so that there is a previous one
        activate(release_id, releases_dir=settings.releases_dir)
    asked = questions(names, PPGS, seed=seed)
    right = references(settings, releases, asked, reader=FeastReader(settings))
    with running(lambda: Api(settings)) as api:
        began = time.monotonic()

        def now() -> float:
            return time.monotonic() - began

        service = Service(settings, names, releases, redis, api, now, random.Random(seed))
        service.activated.append((0.0, releases[-1]))
        load = Load(settings.api_port, asked, right, now=now, seed=seed)
        load.start()
        with sampled(service) as memory:
            faults = rounds(service, seconds)
        load.stop()
        cost = spent(api.metrics())
        api.stop()
        events = ", ".join(f"{n} {e}" for e, n in sorted(api.events.items()))
    logged = {row["decision_id"] for row in _logged(settings.decisions_dir)}
    seen = Observed(load.answers, faults, service.activated, service.kills, logged, memory)
    return seen, f"{cost.cost_usd or 0:.2f} USD for a million decisions", events


def _settings(folder: Path, redis: RedisServer) -> Settings:
    nobody = f"http://127.0.0.1:{free_port()}"  # the tracking server is away all the time
    return load_settings(
        home=folder / "home",
        redis_url=f"127.0.0.1:{redis.port}",
        database_prefix="soak",
        mlflow_url=nobody,
        api_port=free_port(),
    )


def rounds(service: Service, seconds: float) -> list[Fault]:
    """One fault after the other, each with time to recover from it, until the time is up."""
    faults = []
    rest(service)
    for name in decks(service.draw):
        faults.append(inflict(name, service))
        rest(service)
        if service.now() + 3 * RECOVERY_SECONDS > seconds:
            return faults
    raise AssertionError  # decks do not end


def rest(service: Service) -> None:
    """Longer than a recovery takes, and until every worker is there again."""
    time.sleep(RECOVERY_SECONDS + service.draw.uniform(0.5, 3.0))
    wait_until(service.api.is_ready, "all workers to be ready again")


@contextmanager
def sampled(service: Service) -> Iterator[dict[int, list[tuple[float, float]]]]:
    """Memory of every worker, second by second."""
    memory: dict[int, list[tuple[float, float]]] = {}
    stopping = threading.Event()

    def sample() -> None:
        while not stopping.wait(SAMPLE_SECONDS):
            for pid, megabytes in service.api.memory_mb().items():
                memory.setdefault(pid, []).append((service.now(), megabytes))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        stopping.set()
        thread.join()


def _logged(folder: Path) -> Iterator[dict[str, str]]:
    """Rows of the decision log; a torn line is the last of its file, since a write that failed ends it."""
    for file in folder.glob("*.jsonl"):
        lines = file.read_bytes().splitlines()
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except ValueError:
                if number < len(lines):
                    raise


def show(seen: Observed, verdicts: Sequence[Verdict], facts: str) -> None:
    """Faults with what they did, then invariants."""
    console = Console(width=150)
    table = Table("fault", "times", "longest s", "not right", "recovered after s", title="What was done")
    odd = [answer for answer in seen.answers if answer.outcome != RIGHT]
    for name in dict.fromkeys(fault.name for fault in seen.faults):
        own = [fault for fault in seen.faults if fault.name == name]
        hit = sum(any(explains(fault, answer) for fault in own) for answer in odd)
        longest = max(fault.ended - fault.began for fault in own)
        table.add_row(name, str(len(own)), f"{longest:.1f}", f"{hit:,}", f"{max(recovery(f, odd) for f in own):.1f}")
    console.print(table)
    table = Table("invariant", "held", "figure", title="What must hold")
    for verdict in verdicts:
        table.add_row(verdict.invariant, "yes" if verdict.held else "NO", verdict.figure)
    console.print(table)
    console.print(facts)
    for verdict in verdicts:
        for case in verdict.broken:
            console.print(f"broken: {verdict.invariant}: {case}", markup=False)


def result(seen: Observed, verdicts: Sequence[Verdict], run: str) -> Result:
    """What is kept of a run: how often each fault was inflicted, and every invariant with its figure."""
    times = Counter(fault.name for fault in seen.faults)
    done = ", ".join(f"{name} {count}" for name, count in sorted(times.items()))
    rows = [(v.invariant, "yes" if v.held else "no", v.figure) for v in verdicts]
    return Result(
        name="soak",
        goal=f"every invariant holds while two workers answer and faults follow each other ({run})",
        met=all(verdict.held for verdict in verdicts),
        columns=("invariant", "held", "figure"),
        rows=(*rows, ("faults, and how often each", "", done)),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    sys.exit(main(arguments.minutes, arguments.seed))
