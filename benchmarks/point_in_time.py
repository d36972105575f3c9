"""A training set of 1 M rows out of 2.08 M feature rows: Feast's DuckDB store, ours, and an as-of query by hand."""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from measure import Result, interval, process

FEATURES = tuple(f"f{i}" for i in range(8))
FASTER, SMALLER, OF_THE_CEILING = 25, 5, 1.3
FEAST, OURS, BY_HAND = "feast", "ours", "by hand"
# Mode and age limit in days. Feast's join grows with the versions a row may see, so the goal is judged without a limit;
# within three weeks it joins each row with three of them.
MODES: dict[str, tuple[bool, int | None]] = {
    "newest": (False, None),
    "as known": (True, None),
    "as known, 21 days at most": (True, 21),
}

# Every arm imports the same, opens the same store and holds the same frame before the clock starts.
CHILD = """
import json, sys, time, resource, datetime
import duckdb, pandas, pyarrow.parquet
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import ParquetFormat
from feast.types import Float64, String
from feature_repo.offline.store import PointInTimeOfflineStore
arm, as_known, days, data, out = sys.argv[1], sys.argv[2] == "True", int(sys.argv[3]), sys.argv[4], sys.argv[5]
FEATURES = [f"f{i}" for i in range(8)]
TTL = datetime.timedelta(days=days)
kind = "duckdb" if arm == "feast" else "feature_repo.offline.store.PointInTimeOfflineStore"
store = FeatureStore(config=RepoConfig(
    project="bench", provider="local", registry={"registry_type": "sql", "path": f"sqlite:///{out}.db"},
    offline_store={"type": kind}, online_store={"type": "sqlite", "path": f"{out}.online.db"},
    entity_key_serialization_version=3,
))
entity = Entity(name="outlet", join_keys=["outlet_id"], value_type=ValueType.STRING)
source = FileSource(
    name="table", path=f"{data}/features.parquet", file_format=ParquetFormat(),
    timestamp_field="event_timestamp", created_timestamp_column="created_timestamp",
)
schema = [Field(name="outlet_id", dtype=String), *(Field(name=f, dtype=Float64) for f in FEATURES)]
view = FeatureView(name="sales", entities=[entity], ttl=TTL, schema=schema, source=source)
store.apply([entity, view])
rows = pandas.read_parquet(f"{data}/rows.parquet")

def by_feast():
    return store.get_historical_features(
        entity_df=rows, features=[f"sales:{f}" for f in FEATURES], filter_by_created_timestamp=as_known
    ).to_arrow()

def by_hand():
    connection = duckdb.connect()
    table, instant = f"'{data}/features.parquet'", "event_timestamp"
    if as_known:
        instant = "visible"
        table = f'''(
            SELECT *, greatest(event_timestamp, created_timestamp) AS visible FROM {table}
            QUALIFY event_timestamp >= max(event_timestamp)
                OVER (PARTITION BY outlet_id ORDER BY visible))'''
    fresh = f"f.event_timestamp >= r.event_timestamp - INTERVAL {days} DAY" if days else "true"
    values = ", ".join(f"CASE WHEN {fresh} THEN f.{name} END AS {name}" for name in FEATURES)
    return connection.sql(f'''
        SELECT r.*, {values} FROM rows r ASOF LEFT JOIN {table} f
        ON r.outlet_id = f.outlet_id AND r.event_timestamp >= f.{instant}''').to_arrow_table()

peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
began = time.perf_counter()
answer = by_hand() if arm == "by hand" else by_feast()
seconds = time.perf_counter() - began
measured = {"seconds": seconds, "megabytes": peak(), "before": before}
pyarrow.parquet.write_table(answer, f"{out}.parquet")
json.dump(measured, open(f"{out}.json", "w"))
"""


def write_data(folder: Path, *, entities: int = 20_000, weeks: int = 104, rows: int = 1_000_000) -> None:
    """One row per outlet and week, created up to three days later; one in fifty is corrected after its successor."""
    values = ", ".join(f"random() AS {name}" for name in FEATURES)
    with duckdb.connect() as connection:
        connection.execute("SELECT setseed(0.5)")
        connection.execute(f"""
            COPY (
                SELECT format('outlet-{{:06d}}', i % {entities}) AS outlet_id,
                    TIMESTAMPTZ '2024-01-01 05:00:00+00' + to_days((7 * (i // {entities}))::INTEGER) AS event_timestamp,
                    event_timestamp + to_minutes((random() * 4320)::INTEGER)
                        + to_days((CASE WHEN random() < 0.02 THEN 7 ELSE 0 END)::INTEGER) AS created_timestamp,
                    {values}
                FROM range({entities * weeks}) AS r(i)
            ) TO '{folder}/features.parquet' (FORMAT parquet)""")
        connection.execute(f"""
            COPY (
                SELECT format('outlet-{{:06d}}', (random() * {entities - 1})::INTEGER) AS outlet_id,
                    TIMESTAMPTZ '2024-01-01 05:00:00+00' + to_seconds((random() * {604800 * weeks})::INTEGER)
                        AS event_timestamp,
                    i AS row_id
                FROM range({rows}) AS r(i)
            ) TO '{folder}/rows.parquet' (FORMAT parquet)""")


def run(arm: str, *, as_known: bool, days: int | None, data: Path, out: Path) -> Mapping[str, float]:
    """One retrieval in a fresh process: `seconds` of it alone, the peak `megabytes`, and the peak `before` it."""
    process(["-c", CHILD, arm, str(as_known), str(days or 0), str(data), str(out)])
    measured: Mapping[str, float] = json.loads(Path(f"{out}.json").read_text())
    for leftover in out.parent.glob(f"{out.name}*.db*"):
        leftover.unlink()
    return measured


def refuse_differences(one: Path, other: Path) -> None:
    """Both answers hold the same rows with the same values; raises ValueError when they do not."""
    left, right = (pq.read_table(path).sort_by("row_id") for path in (one, other))
    if left.schema.names != right.schema.names or not left.equals(right.cast(left.schema)):
        raise ValueError(f"{one.name} and {other.name} do not hold the same answer")


def measure_mode(
    data: Path, *, as_known: bool, days: int | None, blocks: int, feast_blocks: int, say: Callable[[str], None] = print
) -> dict[str, list[Mapping[str, float]]]:
    """Interleaved blocks of all arms; Feast, the slow one, takes part in the first blocks only."""
    samples: dict[str, list[Mapping[str, float]]] = {OURS: [], BY_HAND: [], FEAST: []}
    for block in range(blocks):
        arms = [arm for arm in samples if arm != FEAST or block < feast_blocks]
        for arm in arms if block % 2 == 0 else reversed(arms):
            samples[arm].append(run(arm, as_known=as_known, days=days, data=data, out=data / arm.replace(" ", "-")))
            say(f"block {block}, {arm}: {samples[arm][-1]}")
        if block == 0:
            refuse_differences(data / "ours.parquet", data / "feast.parquet")
            refuse_differences(data / "ours.parquet", data / "by-hand.parquet")
    return samples


def main(blocks: int, feast_blocks: int) -> None:
    """Both modes, values first; keep the result."""
    lines: list[tuple[str, ...]] = []
    met = True
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as folder:
        write_data(Path(folder))
        for mode, (as_known, days) in MODES.items():
            samples = measure_mode(Path(folder), as_known=as_known, days=days, blocks=blocks, feast_blocks=feast_blocks)
            seconds = {arm: [s["seconds"] for s in taken] for arm, taken in samples.items()}
            peaks = {arm: [s["megabytes"] for s in taken] for arm, taken in samples.items()}
            ratios = {
                "faster than Feast": interval(seconds[FEAST], seconds[OURS]),
                "smaller than Feast": interval(peaks[FEAST], peaks[OURS]),
                "of the query by hand": interval(seconds[OURS], seconds[BY_HAND]),
            }
            if days is None:
                met &= ratios["faster than Feast"][1] >= FASTER and ratios["smaller than Feast"][1] >= SMALLER
            met &= ratios["of the query by hand"][2] <= OF_THE_CEILING
            lines += [
                (
                    f"{arm}, {mode}",
                    f"{statistics.median(seconds[arm]):.2f} s",
                    f"{min(seconds[arm]):.2f} to {max(seconds[arm]):.2f} s",
                    f"{max(peaks[arm]):.0f} MB, {max(s['before'] for s in taken):.0f} of them before",
                )
                for arm, taken in samples.items()
            ]
            lines += [
                (f"{name}, {mode}", f"{ratio:.2f}x", f"{low:.2f} to {high:.2f}x", "")
                for name, (ratio, low, high) in ratios.items()
            ]
    Result(
        name="point_in_time",
        goal=(
            f"1 M rows x 2.08 M feature rows: {FASTER} times faster than Feast and {SMALLER} times less memory where "
            f"no age limit bounds its join, at most {OF_THE_CEILING} times the query by hand in every mode, at the "
            "worse end of the 95 % interval"
        ),
        met=met,
        columns=("what", "median", "range, or 95 % interval", "peak memory"),
        rows=tuple(lines),
    ).save()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--feast-blocks", type=int, default=3)
    arguments = parser.parse_args()
    main(arguments.blocks, arguments.feast_blocks)
