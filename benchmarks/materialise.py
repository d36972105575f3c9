"""500,000 outlets × 8 features into Redis and SQLite: Feast's local engine, tuned, beside ours."""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
from measure import Result, interval, process
from point_in_time import FEATURES
from redis_server import redis_server

OUTLETS = 500_000
FASTER = {"redis": 10, "sqlite": 5}
MOST_MEGABYTES, FLAT = 500, 1.1
FEAST, OURS = "feast", "ours"

# Both arms import the same and open the same registry before the clock starts; plain Feast reads what either wrote.
CHILD = """
import json, sys, time, datetime
import duckdb, pandas
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, String
import feature_repo.engine, feature_repo.online.redis, feature_repo.online.sqlite
arm, kind, data, place, out = sys.argv[1:]
UTC = datetime.timezone.utc
FEATURES = [f"f{i}" for i in range(8)]
plain = {"type": "sqlite", "path": place} if kind == "sqlite" else {"type": "redis", "connection_string": place}
guarded = f"feature_repo.online.{kind}.Guarded{kind.capitalize()}OnlineStore"
ours = arm == "ours"
present = "2026-01-01T00:00:00+00:00"

def opened(online, engine):
    return FeatureStore(config=RepoConfig(
        project="bench", provider="local", registry={"registry_type": "sql", "path": f"sqlite:///{out}.db"},
        offline_store={"type": "feature_repo.offline.store.PointInTimeOfflineStore" if ours else "duckdb"},
        online_store=online, batch_engine=engine, entity_key_serialization_version=3,
        materialization={"online_write_batch_size": 10000, "pull_latest_features": True},
    ))

store = opened(
    {**plain, "type": guarded, "business_time": present} if ours else plain,
    {"type": "feature_repo.engine.BusinessTimeEngine", "business_time": present} if ours else {"type": "local"},
)
entity = Entity(name="outlet", join_keys=["outlet_id"], value_type=ValueType.STRING)
source = FileSource(path=data, timestamp_field="event_timestamp", created_timestamp_column="created_timestamp")
schema = [Field(name="outlet_id", dtype=String), *(Field(name=f, dtype=Float64) for f in FEATURES)]
view = FeatureView(name="sales", entities=[entity], ttl=datetime.timedelta(days=400), schema=schema, source=source)
store.apply([entity, view])
began = time.perf_counter()
store.materialize(datetime.datetime(2025, 1, 1, tzinfo=UTC), datetime.datetime(2026, 1, 1, tzinfo=UTC))
seconds = time.perf_counter() - began
# Not getrusage: its peak is inherited from the process that started this one.
megabytes = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024

sample = [{"outlet_id": f"outlet-{i:06d}"} for i in range(0, 500_100, 250)]
answer = opened(plain, {"type": "local"}).get_online_features([f"sales:{f}" for f in FEATURES], sample)
if kind == "sqlite":
    import sqlite3
    count = sqlite3.connect(place).execute("SELECT count(*) FROM bench_sales").fetchone()[0] // len(FEATURES)
else:
    import redis
    host, port = place.split(":")
    count = redis.Redis(host=host, port=int(port)).dbsize()
read = {name: values for name, values in answer.to_dict(include_event_timestamps=True).items()}
json.dump({"seconds": seconds, "megabytes": megabytes, "count": count, "read": read}, open(f"{out}.json", "w"))
"""


def write_data(path: Path, *, weeks: int) -> None:
    """One row per outlet and week, a day apart from its created time; the newest week is always the same."""
    values = ", ".join(f"hash(i, {at})::DOUBLE / 1e19 AS {name}" for at, name in enumerate(FEATURES))
    with duckdb.connect() as connection:
        connection.execute(f"""
            COPY (
                SELECT format('outlet-{{:06d}}', i % {OUTLETS}) AS outlet_id,
                    TIMESTAMPTZ '2025-12-01 05:00:00+00' - to_days((7 * (i // {OUTLETS}))::INTEGER) AS event_timestamp,
                    event_timestamp + to_days(1) AS created_timestamp, {values}
                FROM range({OUTLETS * weeks}) AS r(i) ORDER BY i // {OUTLETS} DESC
            ) TO '{path}' (FORMAT parquet)""")


@contextmanager
def emptied(kind: str, folder: Path) -> Iterator[str]:
    """A new, empty online store: a file, or the host:port of a Redis of its own."""
    if kind == "sqlite":
        yield str(folder / "online.db")
        for leftover in folder.glob("online.db*"):
            leftover.unlink()
        return
    with redis_server(folder) as place:
        yield place


def run(arm: str, kind: str, data: Path, folder: Path) -> Mapping[str, object]:
    """One materialisation into an empty store, and what plain Feast reads of it afterwards."""
    out = folder / f"{arm}-{kind}"
    with emptied(kind, folder) as place:
        process(["-c", CHILD, arm, kind, str(data), place, str(out)])
    Path(f"{out}.db").unlink()
    measured: Mapping[str, object] = json.loads(Path(f"{out}.json").read_text())
    print(kind, arm, {name: measured[name] for name in ("seconds", "megabytes", "count")}, flush=True)
    return measured


def main(blocks: int) -> None:
    """Values first, then the interleaved blocks, then the memory of a history of ten million rows."""
    lines, met = [], True
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as name:
        folder = Path(name)
        short, long = folder / "short.parquet", folder / "long.parquet"
        write_data(short, weeks=2)
        write_data(long, weeks=20)
        for kind, faster in FASTER.items():
            samples: dict[str, list[Mapping[str, object]]] = {FEAST: [], OURS: []}
            for block in range(blocks):
                for arm in (FEAST, OURS) if block % 2 == 0 else (OURS, FEAST):
                    samples[arm].append(run(arm, kind, short, folder))
                if any(samples[OURS][-1][what] != samples[FEAST][-1][what] for what in ("count", "read")):
                    raise ValueError(f"{kind}: plain Feast does not read the same from both")
            history = run(OURS, kind, long, folder)
            if any(history[what] != samples[OURS][0][what] for what in ("count", "read")):
                raise ValueError(f"{kind}: the longer history leaves another state")
            line, good = _line(kind, samples, history, faster)
            lines.append(line)
            met &= good
    Result(
        name="materialise",
        goal=f"500,000 outlets × 8 features, latest of 1 M rows, plain Feast reads the same afterwards: Redis ≥ "
        f"{FASTER['redis']}× and SQLite ≥ {FASTER['sqlite']}× Feast's tuned local engine (lower end), at most "
        f"{MOST_MEGABYTES} MB, and at most {FLAT}× as much for 10 M rows",
        met=met,
        columns=("store", "Feast s", "ours s", "ratio (95 %)", "Feast MB", "ours MB", "ours MB, 10 M rows"),
        rows=tuple(lines),
    ).save()


def _line(
    kind: str, samples: Mapping[str, list[Mapping[str, object]]], history: Mapping[str, object], faster: int
) -> tuple[tuple[str, ...], bool]:
    seconds = {arm: [float(str(s["seconds"])) for s in taken] for arm, taken in samples.items()}
    peaks = {arm: max(float(str(s["megabytes"])) for s in taken) for arm, taken in samples.items()}
    longer = float(str(history["megabytes"]))
    ratio, low, high = interval(seconds[FEAST], seconds[OURS])
    good = low >= faster and max(peaks[OURS], longer) <= MOST_MEGABYTES and longer <= FLAT * peaks[OURS]
    shown = [f"{sum(seconds[arm]) / len(seconds[arm]):.1f}" for arm in (FEAST, OURS)]
    memory = [f"{value:.0f}" for value in (peaks[FEAST], peaks[OURS], longer)]
    return (kind, *shown, f"{ratio:.1f} ({low:.1f} to {high:.1f})", *memory), good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=3)
    main(parser.parse_args().blocks)
