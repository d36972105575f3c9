"""2,000 POS lines a second for half a minute: how old a line is when it can be read online, beside Feast's own push.

Both arms get the same lines at the same times (open loop: nobody waits for an answer) on a Redis of their own. Ours is
`poplift stream`, contract, duplicates and lake included. Feast's arm adds the lines up in a dictionary and calls
`store.push` for what changed: no contract, no lake, no correction, nothing left after a crash. A reader asks Redis for
some cells all the time; the age of a line is what passes from before its XADD to the first read that counts it. An arm
whose values are not those of a plain count of the lines, cell by cell, has no result.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import redis
from feast.protos.feast.types.Value_pb2 import Value
from measure import Result
from redis_server import redis_server

from feature_repo.catalog import RUNNING_VIEWS
from feature_repo.definitions.repository import objects
from feature_repo.online.layout import EntityKeyLayout, redis_key, value_field
from poplift import feature_store
from poplift.databases import ensure_databases
from poplift.lake import Lake
from poplift.settings import Settings, child_environment, load_settings
from poplift.sources.ingest import open_source
from poplift.stream import PAGE, RedisStream, client

RATE, SECONDS, GOAL = 2000, 30, 1.0
TICK = 0.02  # seconds between two appends
SATURATING = 20_000  # lines appended at once, to see how many a second an arm takes
PROBES = 25  # cells that the reader asks for all the time
PATIENCE = 180
WEEK, OPENS = 53, datetime(2017, 12, 25, 5, tzinfo=UTC)
NOW = datetime(2018, 1, 1, 4, 59, tzinfo=UTC)
VIEW, FEATURE = RUNNING_VIEWS[0].name, "transactions_week_to_date"
OURS, PEER = "poplift stream", "store.push of Feast"
Cell = tuple[str, str]

PEER_CODE = """
import json, sys
from datetime import timedelta
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig, ValueType
from feast.types import Float64, String
from poplift.stream import RedisStream
home, url, project, view, ppgs = *sys.argv[1:5], json.loads(open(sys.argv[5]).read())
store = FeatureStore(config=RepoConfig(project=project, provider="local", entity_key_serialization_version=3,
    registry={"registry_type": "sql", "path": f"sqlite:///{home}/peer.db", "cache_ttl_seconds": 600},
    online_store={"type": "redis", "connection_string": url}, offline_store={"type": "duckdb"}))
entities = [Entity(name=n, join_keys=[f"{n}_id"], value_type=ValueType.STRING) for n in ("outlet", "ppg")]
names = ["transactions_week_to_date", "units_week_to_date", "sales_usd_week_to_date", "open_week"]
table = FileSource(name="table", path=f"{home}/none.parquet", timestamp_field="event_timestamp")
push = PushSource(name="pos_lines_push", batch_source=table)
keys = [Field(name="outlet_id", dtype=String), Field(name="ppg_id", dtype=String)]
store.apply([*entities, FeatureView(name=view, entities=entities, ttl=timedelta(days=7), source=push,
    schema=[*keys, *(Field(name=n, dtype=Float64) for n in names)])])
stream, state = RedisStream(url, name=project), {}
assert stream.acquire()
print("ready", flush=True)
while stream.keep():
    messages = stream.take(most=2000, wait=timedelta(seconds=0.2))
    touched = {}
    for message in messages:
        line = json.loads(message.payload)
        cell = line["outlet_id"], ppgs[line["product_id"]]
        baskets, units, sales = state.setdefault(cell, (set(), 0.0, 0.0))
        baskets.add(line["basket_id"])
        state[cell] = baskets, units + line["quantity"], sales + line["sales_value"]
        touched[cell] = line["sold_at"]
    if touched:
        rows = [(*cell, at, float(len(state[cell][0])), *state[cell][1:], 53.0) for cell, at in touched.items()]
        frame = pd.DataFrame(rows, columns=["outlet_id", "ppg_id", "event_timestamp", *names])
        frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], format="ISO8601")
        store.push("pos_lines_push", frame)
        stream.finish([m.id for m in messages])
"""


@dataclass
class Arm:
    """One consumer under load: what was sent when, and what the reader saw when."""

    url: str
    project: str
    products: dict[str, str]  # product → ppg, one a ppg
    outlets: list[str]
    sent: int = 0
    counts: Counter[Cell] = field(default_factory=Counter)
    waiting: dict[Cell, list[tuple[int, float]]] = field(default_factory=dict)
    ages: list[float] = field(default_factory=list)

    def lines(self, count: int, *, began: float | None) -> list[bytes]:
        """The next lines, each a basket of its own; those for a probe cell are noted with when they were sent."""
        made, products = [], list(self.products)
        for number in range(self.sent, self.sent + count):
            product = products[number % len(products)]
            cell = self.outlets[number // len(products) % len(self.outlets)], self.products[product]
            self.counts[cell] += 1
            if began is not None and cell in self.waiting:
                self.waiting[cell].append((self.counts[cell], began))
            made.append(
                json.dumps(
                    {"basket_id": f"b{number}", "product_id": product, "outlet_id": cell[0], "shopper_id": None}
                    | {"week": WEEK, "sold_at": (OPENS + timedelta(milliseconds=number)).isoformat(), "quantity": 1}
                    | {"sales_value": 1.25, "retail_discount": 0, "coupon_discount": 0, "coupon_match_discount": 0}
                ).encode()
            )
        self.sent += count
        return made

    def read(self, asked: redis.Redis, cells: Sequence[Cell]) -> list[float]:
        """Transactions of these cells as they are online; 0 for a cell that is not."""
        layout = EntityKeyLayout.of({"outlet_id": "string", "ppg_id": "string"})
        keys = layout.encode({"outlet_id": [c[0] for c in cells], "ppg_id": [c[1] for c in cells]})
        pipe = asked.pipeline(transaction=False)
        for key in keys:
            pipe.hget(redis_key(key, self.project), value_field(VIEW, FEATURE))
        return [Value.FromString(raw).double_val if raw else 0.0 for raw in pipe.execute()]

    def watch(self, stop: threading.Event) -> None:
        """Read the probe cells until told to stop and note the age of every line when it is first counted."""
        asked, cells = client(self.url), list(self.waiting)
        while not stop.wait(0.002):
            values, now = self.read(asked, cells), time.perf_counter()
            for cell, value in zip(cells, values, strict=True):
                while self.waiting[cell] and self.waiting[cell][0][0] <= value:
                    self.ages.append(now - self.waiting[cell].pop(0)[1])

    def is_complete(self, asked: redis.Redis) -> bool:
        """Whether every cell counts every line that was sent."""
        return self.read(asked, list(self.counts)) == [float(n) for n in self.counts.values()]


def main(rate: int, seconds: int) -> None:
    """Measure both arms, one after the other, and keep the result."""
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as folder:
        ages = {name: _measured(Path(folder), name, rate, seconds) for name in (OURS, PEER)}
    p99 = {name: float(np.quantile(found, 0.99)) for name, (found, _) in ages.items()}
    rows = [
        (
            name,
            f"{rate * seconds:,} of {rate * seconds:,}",
            f"{np.median(found):.2f}",
            f"{p99[name]:.2f}",
            f"{max(found):.2f}",
            f"{full:,.0f}",
        )
        for name, (found, full) in ages.items()
    ]
    Result(
        name="streaming",
        goal=f"{rate:,} lines a second for {seconds} s, all applied, each readable within {GOAL:g} s (p99)",
        met=p99[OURS] <= GOAL,
        columns=("what", "lines applied", "age p50 s", "age p99 s", "oldest s", "lines a second when saturated"),
        rows=tuple(rows),
    ).save()


def _measured(folder: Path, name: str, rate: int, seconds: int) -> tuple[list[float], float]:
    """Ages of the probed lines in seconds, and how many lines a second the arm takes when there is no end of them."""
    with redis_server(folder) as url:
        settings = _home(folder, url)
        products, outlets = _assortment(settings)
        arm = Arm(url, settings.database_prefix, products, outlets)
        cells = [(o, p) for o in outlets for p in products.values()]
        arm.waiting = {cell: [] for cell in cells[:: len(cells) // PROBES]}
        with _consumer(folder, settings, name, products):
            asked, stream = client(url), RedisStream(url, name=settings.database_prefix)
            _until(lambda: name == PEER or asked.exists(f"{stream.name}:lease"), "no consumer")
            stream.append(arm.lines(PAGE, began=None))  # both have done everything once before the clock starts
            _until(lambda: arm.is_complete(asked), "the first lines never came online")
            _open_loop(arm, stream, rate, seconds)
            _until(lambda: arm.is_complete(asked), f"{name} did not apply every line")
            began = time.perf_counter()
            stream.append(arm.lines(SATURATING, began=None))
            _until(lambda: arm.is_complete(asked), f"{name} did not apply every line")
            return arm.ages, SATURATING / (time.perf_counter() - began)


def _open_loop(arm: Arm, stream: RedisStream, rate: int, seconds: int) -> None:
    stop = threading.Event()
    reader = threading.Thread(target=arm.watch, args=(stop,))
    reader.start()
    began = time.perf_counter()
    for tick in range(int(seconds / TICK)):
        time.sleep(max(0.0, began + tick * TICK - time.perf_counter()))
        stream.append(arm.lines(int(rate * TICK), began=time.perf_counter()))
    _until(lambda: not any(arm.waiting.values()), "a line was never counted online")
    stop.set()
    reader.join()


def _until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.01)


def _home(folder: Path, url: str) -> Settings:
    """A home with all of the demo's lines known in the last minute of week 53, and its views registered."""
    settings = load_settings(home=folder / "home", redis_url=url, business_time=NOW, database_prefix="bench")
    lake = Lake(settings.lake_dir)
    if not lake.parts("pos_lines"):
        source = open_source(settings)
        source.open(lake.connection)
        for table in ("weeks", "products", "outlets", "pos_lines"):
            known = f"SELECT * FROM ({source.tables()[table]}) WHERE created_at <= TIMESTAMPTZ '{NOW.isoformat()}'"
            lake.append(table, known, has_unique_keys=True)
        ensure_databases(settings)
        feature_store.apply(settings, objects(settings))
    return settings


def _assortment(settings: Settings) -> tuple[dict[str, str], list[str]]:
    lake = Lake(settings.lake_dir)
    products = f"SELECT min(product_id), ppg_id FROM ({lake.query('products', as_of=NOW)}) WHERE ppg_id IS NOT NULL"
    outlets = f"SELECT outlet_id FROM ({lake.query('outlets', as_of=NOW)}) WHERE is_managed ORDER BY 1"
    found = dict(lake.connection.sql(f"{products} GROUP BY 2 ORDER BY 2").fetchall())
    return found, [row[0] for row in lake.connection.sql(outlets).fetchall()]


@contextmanager
def _consumer(folder: Path, settings: Settings, name: str, products: dict[str, str]) -> Iterator[None]:
    command = [sys.executable, "-m", "flows.cli", "stream"]
    if name == PEER:
        (folder / "ppgs.json").write_text(json.dumps(products))
        arguments = [str(folder), settings.redis_url, settings.database_prefix, VIEW, str(folder / "ppgs.json")]
        command = [sys.executable, "-c", PEER_CODE, *map(str, arguments)]
    log = (folder / f"{name.partition(' ')[0]}.log").open("w")
    process = subprocess.Popen(command, env=child_environment(settings), stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)
        log.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    arguments = parser.parse_args()
    main(arguments.rate, arguments.seconds)
