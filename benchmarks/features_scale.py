"""All features from 1, 10 and 100 million POS lines by DuckDB, beside the same Ibis code on Spark up to 10 million."""

import argparse
import os
import platform
import statistics
import tempfile
from datetime import datetime
from pathlib import Path

import duckdb
from measure import COLUMNS, Result, Sample, interleaved, line, process

from feature_repo.catalog import VIEWS
from flows.steps.ingest import ingest_events
from poplift.clock import wall_now
from poplift.lake import Lake
from poplift.settings import load_settings

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "move-to-spark.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
MILLION = 1_000_000
MOST_GROWTH, MOST_MEGABYTES = 12.0, 4096
TOLERANCE = 1e-9
OURS = """
import sys
from datetime import datetime
from pathlib import Path
from feature_repo.build import DuckDBCompute
from feature_repo.catalog import VIEWS
from poplift.lake import Lake
folder, target, as_of = Path(sys.argv[1]), Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3])
lake, compute = Lake(folder), DuckDBCompute()
tables = compute.sources(lake, as_of=as_of)
for view in VIEWS:
    (target / view.name).mkdir(parents=True)
    lake.connection.execute(f"COPY ({compute.query(view, tables)}) TO '{target}/{view.name}/rows.parquet'")
"""
SPARK = """
import sys
from datetime import datetime
from pathlib import Path
from feature_repo.catalog import VIEWS
from feature_repo.spark_build import SparkCompute
from poplift.lake import Lake
from poplift.settings import load_settings
from poplift.spark import spark_conf
folder, target, as_of = Path(sys.argv[1]), Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3])
compute = SparkCompute(spark_conf(load_settings(home=target, offline_engine="spark")), scratch=target)
tables = compute.sources(Lake(folder), as_of=as_of)
for view in VIEWS:
    compute.query(view, tables)
"""


def main(blocks: int, sizes: list[int], spark_sizes: list[int], largest_blocks: int) -> None:
    """Write lakes of every size, compare both engines on the smallest, then measure and keep the result.

    The largest size, which takes longer than all others together, is measured in `largest_blocks` of the blocks.
    """
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as name:
        folder = Path(name)
        as_of = write_lakes(folder, sizes)
        assert_same_features(folder, min(spark_sizes), as_of)
        arms = {f"DuckDB, {size} M lines": _arm(OURS, folder, size, as_of) for size in sizes}
        arms |= {f"Spark local[2], {size} M lines": _arm(SPARK, folder, size, as_of) for size in spark_sizes}
        smaller, larger = (f"DuckDB, {size} M lines" for size in sorted(sizes)[-2:])
        samples = interleaved(arms, blocks=largest_blocks)
        others = interleaved(
            {name: arm for name, arm in arms.items() if name != larger}, blocks=blocks - largest_blocks
        )
        samples = {name: taken + others.get(name, []) for name, taken in samples.items()}
    growth = spread(samples[larger], samples[smaller])
    versus = {
        size: spread(samples[f"Spark local[2], {size} M lines"], samples[f"DuckDB, {size} M lines"])
        for size in spark_sizes
    }
    memory = max(s.megabytes for arm, taken in samples.items() if arm.startswith("DuckDB") for s in taken)
    result = Result(
        name="features_scale",
        goal=f"ten times the lines in at most {MOST_GROWTH:.0f} times the time (the two largest sizes), at most "
        f"{MOST_MEGABYTES} MB, and faster than Spark on the same machine, in every pair of runs",
        met=growth[2] <= MOST_GROWTH and memory <= MOST_MEGABYTES and all(low > 1 for _, low, _ in versus.values()),
        columns=COLUMNS,
        rows=(
            *(
                line(name, taken) if name.startswith("DuckDB") else (*line(name, taken)[:-1], "-")
                for name, taken in samples.items()
            ),
            _ratio_line(f"{larger} over {smaller.removeprefix('DuckDB, ')}", growth),
            *(_ratio_line(f"Spark over DuckDB, {size} M", found) for size, found in versus.items()),
        ),
    )
    result.save()
    write_page(result, blocks, largest_blocks)


def write_page(result: Result, blocks: int, largest_blocks: int) -> None:
    """Put the table of this run, with machine and day, between the markers of the page that advises on Spark."""
    runs = f"{blocks} runs each, of the largest size {largest_blocks}"
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    table = [
        BEGIN,
        f"{wall_now():%-d %B %Y}, {os.cpu_count()} cores, {platform.machine()}, {runs}:",
        "",
        "| " + " | ".join(result.columns) + " |",
        "|---|" + "---:|" * (len(result.columns) - 1),
        *("| " + " | ".join(row) + " |" for row in result.rows),
        END,
    ]
    PAGE.write_text(before + "\n".join(table) + after)


def write_lakes(folder: Path, sizes: list[int]) -> datetime:
    """A lake for each size in millions of lines: a million lines of the demo, as often as it takes, outlets renamed."""
    settings = load_settings(home=folder / "demo")
    ingest_events(settings)
    demo, as_of = Lake(settings.lake_dir), settings.business_time
    for size in sizes:
        lake = Lake(folder / str(size))
        rows = {
            table: demo.query(table, as_of=as_of)
            for table in ("pos_lines", "promotions", "products", "outlets", "weeks", "price_calendar")
        }
        thinned = f"ORDER BY hash(basket_id || product_id), basket_id, product_id LIMIT {MILLION}"
        # In the order in which tills deliver: what a build compares lies together then, in the product's lake too.
        lines = f"SELECT * FROM (SELECT * FROM ({rows['pos_lines']}) {thinned}) ORDER BY sold_at, basket_id, product_id"
        lake.connection.execute(f"CREATE TEMP TABLE lines AS {lines}")
        managed = f"SELECT product_id FROM ({rows['products']}) WHERE ppg_id IS NOT NULL"
        copied = {
            "pos_lines": _copies("lines", size, "basket_id", "outlet_id", "shopper_id"),
            "promotions": _copies(f"(FROM ({rows['promotions']}) WHERE product_id IN ({managed}))", size, "outlet_id"),
            "outlets": _copies(f"({rows['outlets']})", size, "outlet_id"),
        }
        for table, query in (rows | copied).items():
            lake.append(table, query, has_unique_keys=True)
    return as_of


def _copies(rows: str, copies: int, *names: str) -> str:
    own = ", ".join(f"{name} || '-' || copy AS {name}" for name in names)
    return f"SELECT * EXCLUDE copy REPLACE ({own}) FROM range({copies}) AS copies(copy), {rows}"


def assert_same_features(folder: Path, size: int, as_of: datetime) -> None:
    """Every value of every view by both engines, to the ninth decimal; AssertionError names the view that differs."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for engine, code in (("duckdb", OURS), ("spark", SPARK)):
            process(["-c", code, str(folder / str(size)), f"{name}/{engine}", as_of.isoformat()])
        for view in VIEWS:
            ours, theirs = (f"read_parquet('{name}/{engine}/{view.name}/*.parquet')" for engine in ("duckdb", "spark"))
            keys = ", ".join((*view.entities, "event_timestamp", "created_timestamp"))
            near = " AND ".join(
                f"coalesce(abs(a.{f.name} - b.{f.name}) <= {TOLERANCE} * greatest(1, abs(a.{f.name})), "
                f"a.{f.name} IS NULL AND b.{f.name} IS NULL)"
                for f in view.features
            )
            one, other, same = duckdb.sql(
                f"SELECT (SELECT count(*) FROM {ours}), (SELECT count(*) FROM {theirs}), "
                f"(SELECT count(*) FROM {ours} AS a JOIN {theirs} AS b USING ({keys}) WHERE {near})"
            ).fetchone() or (0, 0, 0)
            assert one == other == same > 0, f"{view.name}: {one} rows by DuckDB, {other} by Spark, {same} the same"


def _arm(code: str, folder: Path, size: int, as_of: datetime):  # noqa: ANN202
    def run() -> Sample:
        with tempfile.TemporaryDirectory(dir=folder) as target:
            return process(["-c", code, str(folder / str(size)), target, as_of.isoformat()])

    return run


def spread(slow: list[Sample], fast: list[Sample]) -> tuple[float, float, float]:
    """Ratio of the medians of seconds, and the least and the most that any run of one is of any run of the other."""
    above, below = ([s.seconds for s in taken] for taken in (slow, fast))
    return (
        statistics.median(above) / statistics.median(below),
        min(above) / max(below),
        max(above) / min(below),
    )


def _ratio_line(name: str, found: tuple[float, float, float]) -> tuple[str, ...]:
    return (name, f"{found[0]:.2f}x", f"{found[1]:.2f}x to {found[2]:.2f}x", "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--largest-blocks", type=int, default=1, help="in how many of them the largest size runs")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 100], help="millions of lines")
    parser.add_argument("--spark-sizes", type=int, nargs="+", default=[1, 10], help="millions of lines")
    asked = parser.parse_args()
    main(asked.blocks, asked.sizes, asked.spark_sizes, asked.largest_blocks)
