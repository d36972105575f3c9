"""All rows of the demo data through their contracts, beside DuckDB copying the same files without looking at a row."""

import argparse
import tempfile
from pathlib import Path

from measure import COLUMNS, Result, Sample, interleaved, line, process

MOST_SECONDS, MOST_MEGABYTES = 30, 3000

OURS = """
import sys
from flows.steps.ingest import ingest_events
from poplift.settings import load_settings
from pathlib import Path
report = ingest_events(load_settings(home=Path(sys.argv[1])))
assert report.is_new
assert all(t.rows_in == t.rows_good + t.rows_quarantined for t in report.tables)
"""
COPY = """
import sys, duckdb
from poplift.sources.complete_journey import package_folder
connection = duckdb.connect(config={"threads": 2, "memory_limit": "2GB"})
for name in "transactions", "promotions", "products":
    source, target = f"{package_folder()}/{name}.parquet", f"{sys.argv[1]}/{name}.parquet"
    connection.sql(f"COPY (FROM '{source}') TO '{target}' (FORMAT parquet)")
"""


def main(blocks: int) -> None:
    """Measure both in interleaved blocks and keep the result."""
    arms = {"contracts and lake": lambda: _run(OURS), "plain copy, the ceiling": lambda: _run(COPY)}
    samples = interleaved(arms, blocks=blocks)
    ours = samples["contracts and lake"]
    Result(
        name="ingest",
        goal=f"1.47 M lines and 20.9 M promotion rows in at most {MOST_SECONDS} s and {MOST_MEGABYTES} MB",
        met=max(s.seconds for s in ours) <= MOST_SECONDS and max(s.megabytes for s in ours) <= MOST_MEGABYTES,
        columns=COLUMNS,
        rows=tuple(line(name, taken) for name, taken in samples.items()),
    ).save()


def _run(code: str) -> Sample:
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as folder:
        return process(["-c", code, str(Path(folder))])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=3)
    main(parser.parse_args().blocks)
