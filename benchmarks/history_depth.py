"""The same number of feature rows, ten or a thousand versions deep: our store, and Feast's DuckDB store beside it."""

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from measure import Result, interval
from point_in_time import FEAST, OURS, refuse_differences, run, write_data

SHALLOW, DEEP = 10, 1000
MOST = 1.5


def main(blocks: int, feast_blocks: int, feature_rows: int, rows: int) -> None:
    """Interleaved blocks over both depths, values first; keep the result."""
    samples: dict[tuple[str, int], list[Mapping[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as name:
        for depth in (SHALLOW, DEEP):
            folder = Path(name) / str(depth)
            folder.mkdir()
            write_data(folder, entities=feature_rows // depth, weeks=depth, rows=rows)
        for block in range(blocks):
            for depth in (SHALLOW, DEEP) if block % 2 == 0 else (DEEP, SHALLOW):
                folder = Path(name) / str(depth)
                for arm in (OURS, FEAST) if block < feast_blocks else (OURS,):
                    taken = run(arm, as_known=True, days=None, data=folder, out=folder / arm)
                    samples.setdefault((arm, depth), []).append(taken)
                    print(f"block {block}, {arm}, {depth} deep: {taken}")
                if block == 0:
                    refuse_differences(folder / "ours.parquet", folder / "feast.parquet")
    seconds = {key: [s["seconds"] for s in taken] for key, taken in samples.items()}
    ratios = {arm: interval(seconds[arm, DEEP], seconds[arm, SHALLOW]) for arm in (OURS, FEAST)}
    Result(
        name="history_depth",
        goal=(
            f"{rows:,} rows x {feature_rows:,} feature rows: {DEEP} versions deep at most {MOST} times as long as "
            f"{SHALLOW} deep, at the worse end of the 95 % interval"
        ),
        met=ratios[OURS][2] <= MOST,
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
    # Feast joins every row with all of its history: 100,000 rows a thousand deep are what it can still do.
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--feature-rows", type=int, default=2_000_000)
    arguments = parser.parse_args()
    main(arguments.blocks, arguments.feast_blocks, arguments.feature_rows, arguments.rows)
