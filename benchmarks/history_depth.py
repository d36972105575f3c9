"""The same number of feature rows, ten or a thousand versions deep: our store, a query by hand, and Feast's store."""

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
from measure import Result, interval
from point_in_time import BY_HAND, FEAST, OURS, refuse_differences, run, write_data

SHALLOW, DEEP = 10, 1000
MOST = 1.5
Samples = dict[tuple[str, int], list[Mapping[str, float]]]


def main(blocks: int, feast_blocks: int, feature_rows: int, rows: int, feast_rows: int) -> None:
    """Interleaved blocks over both depths, values first; keep the result."""
    samples: Samples = {}
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as name:
        few, every = f"Feast, {feast_rows:,} rows", f", {rows:,} rows"
        for depth in (SHALLOW, DEEP):
            _write(Path(name) / str(depth), depth, feature_rows, rows, feast_rows)
        for block in range(blocks):
            for depth in (SHALLOW, DEEP) if block % 2 == 0 else (DEEP, SHALLOW):
                folder = Path(name) / str(depth)
                for arm in (OURS, BY_HAND):
                    samples.setdefault((arm + every, depth), []).append(_run(arm, folder))
                if block < feast_blocks:
                    samples.setdefault((few, depth), []).append(_run(FEAST, folder / "few"))
                if block == 0:
                    _run(OURS, folder / "few")
                    refuse_differences(folder / "few" / "ours.parquet", folder / "few" / "feast.parquet")
                    refuse_differences(folder / "ours.parquet", folder / "by-hand.parquet")
    _keep(samples, f"{rows:,} rows x {feature_rows:,} feature rows", ours=OURS + every)


def _write(folder: Path, depth: int, feature_rows: int, rows: int, feast_rows: int) -> None:
    """Features and rows of one depth, and in `few` the first of the rows beside the same features."""
    few = folder / "few"
    few.mkdir(parents=True)
    write_data(folder, entities=feature_rows // depth, weeks=depth, rows=rows)
    (few / "features.parquet").symlink_to(folder / "features.parquet")
    pq.write_table(pq.read_table(folder / "rows.parquet").slice(0, feast_rows), few / "rows.parquet")


def _run(arm: str, folder: Path) -> Mapping[str, float]:
    taken = run(arm, as_known=True, days=None, data=folder, out=folder / arm.replace(" ", "-"))
    print(f"{arm}, {folder}: {taken}", flush=True)
    return taken


def _keep(samples: Samples, what: str, *, ours: str) -> None:
    seconds = {key: [s["seconds"] for s in taken] for key, taken in samples.items()}
    arms = dict.fromkeys(arm for arm, _ in samples)
    ratios = {arm: interval(seconds[arm, DEEP], seconds[arm, SHALLOW]) for arm in arms}
    Result(
        name="history_depth",
        goal=(
            f"{what}: {DEEP} versions deep at most {MOST} times as long as {SHALLOW} deep, at the worse end of the "
            "95 % interval"
        ),
        met=ratios[ours][2] <= MOST,
        columns=("what", "median", "range, or 95 % interval", "peak memory"),
        rows=(
            *(
                (
                    f"{arm}, {depth} deep",
                    f"{statistics.median(seconds[arm, depth]):.2f} s",
                    f"{min(seconds[arm, depth]):.2f} to {max(seconds[arm, depth]):.2f} s",
                    f"{max(s['megabytes'] for s in taken):.0f} MB",
                )
                for (arm, depth), taken in samples.items()
            ),
            *(
                (f"{arm}, deep to shallow", f"{ratio:.2f}x", f"{low:.2f} to {high:.2f}x", "")
                for arm, (ratio, low, high) in ratios.items()
            ),
        ),
    ).save()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--feast-blocks", type=int, default=1)
    parser.add_argument("--rows", type=int, default=1_000_000)
    # Feast joins every row with all of its history: 100,000 rows a thousand deep are what it can still do.
    parser.add_argument("--feast-rows", type=int, default=100_000)
    parser.add_argument("--feature-rows", type=int, default=2_000_000)
    arguments = parser.parse_args()
    main(
        arguments.blocks,
        arguments.feast_blocks,
        arguments.feature_rows,
        arguments.rows,
        arguments.feast_rows,
    )
