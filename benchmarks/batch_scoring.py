"""Ten million planned rows from Parquet to Parquet, beside the package's `Booster.predict` on blocks in memory."""

import argparse
import gc
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measure import Result, interval
from serving_home import PPGS, home, outlets

from poplift.activation import CANDIDATES
from poplift.settings import Settings
from serving.batch import PLAN
from serving.bulk import score_files
from serving.current import load_current
from serving.online import FeastReader, coming_week_start_day, model_inputs, read_rows
from serving.release import HEADS, LoadedRelease

GOAL = 0.85
FILES, OUTLETS, THREADS = 20, 40, 2
CEILING_ROWS = 100_000
OURS, CEILING = "poplift, Parquet to Parquet", "Booster.predict in memory, the ceiling"


@dataclass(frozen=True)
class Turn:
    """What one arm took for a row: seconds by the clock, seconds of processors, and the peak memory after it in MB."""

    seconds: float
    cpu: float
    megabytes: float


def main(rows: int, count: int) -> None:
    """Compare the predictions of both, then take a file and a block in turns and keep the result.

    Every file is a run of its own, which reads the `count` outlets anew: the fewer rows are planned for an outlet and
    ppg, the more of the time is reading.
    """
    size = rows // FILES
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as name:
        folder = Path(name)
        settings = home(folder / "home", count=count, database_prefix="bench")
        release, reader = load_current(settings.releases_dir), FeastReader(settings)
        sources = [plan(folder / f"plan-{n:02d}.parquet", size, count=count, seed=n) for n in range(FILES)]
        boosters = [lightgbm.Booster(model_file=str(release.folder / f"{head}.lgb")) for head in HEADS]
        inputs = compare(settings, release, reader, boosters, sources[0])

        def ours(source: Path) -> int:
            return score_files(
                release,
                source,
                reader=reader,
                business_time=settings.business_time,
                into=folder / "scores",
                threads=THREADS,
            ).rows

        def ceiling(_: Path) -> int:
            for booster in boosters:
                booster.predict(inputs, num_threads=THREADS)
            return len(inputs)

        arms: dict[str, Callable[[Path], int]] = {CEILING: ceiling, OURS: ours}
        turns: dict[str, list[Turn]] = {arm: [] for arm in arms}
        for number, source in enumerate(sources):
            for arm in arms if number % 2 else reversed(arms):
                turns[arm].append(turn(arms[arm], source))
    keep(turns, rows=rows, pairs=count * len(PPGS))


def turn(arm: Callable[[Path], int], source: Path) -> Turn:
    """One turn of one arm, which says how many rows it did."""
    gc.collect()  # connections to SQLite are in cycles: those of an earlier run would keep the store mapped into memory
    began, used = time.perf_counter(), time.process_time()
    done = arm(source)
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    return Turn(seconds / done, cpu / done, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def keep(turns: Mapping[str, Sequence[Turn]], *, rows: int, pairs: int) -> None:
    """The result of all turns."""
    seconds = {arm: [t.seconds for t in taken] for arm, taken in turns.items()}
    cpu = {arm: [t.cpu for t in taken] for arm, taken in turns.items()}
    middle, low, high = interval(seconds[CEILING], seconds[OURS], in_turns=True)
    # On a machine that is busy with other things the ceiling waits for the slower of its threads, and looks slow.
    work, least, most = interval(cpu[CEILING], cpu[OURS], in_turns=True)
    first, last = turns[OURS][0].megabytes, turns[OURS][-1].megabytes
    Result(
        name="batch_scoring",
        goal=f"{rows:,} rows in {FILES} runs, each of {pairs:,} pairs of outlet and ppg, on {THREADS} threads at "
        f"{GOAL:.0%} or more of the ceiling's rows a second, by the lower end of the 95 % interval, and memory flat in "
        "rows; the same by processor time",
        met=min(low, least) >= GOAL and last < 1.1 * first,
        columns=(
            "what",
            "rows/s",
            "of the ceiling",
            "95 % interval",
            "CPU s a million rows",
            "of the ceiling, 95 % interval",
            "peak MB, first and last file",
        ),
        rows=(
            (CEILING, f"{1 / np.mean(seconds[CEILING]):,.0f}", "1", "", f"{1e6 * np.mean(cpu[CEILING]):.1f}", "", ""),
            (
                OURS,
                f"{1 / np.mean(seconds[OURS]):,.0f}",
                f"{middle:.2f}",
                f"{low:.2f}–{high:.2f}",
                f"{1e6 * np.mean(cpu[OURS]):.1f}",
                f"{work:.2f} ({least:.2f}–{most:.2f})",
                f"{first:.0f}, {last:.0f}",
            ),
        ),
    ).save()


def plan(path: Path, rows: int, *, count: int, seed: int) -> Path:
    """A file of planned rows for so many outlets in random order."""
    draw = np.random.default_rng(seed)
    chosen = draw.integers(0, len(CANDIDATES), rows)

    def of(values: list[object]) -> np.ndarray:
        return np.array(values)[chosen]

    columns = [
        np.array(outlets(count))[draw.integers(0, count, rows)],
        np.array(PPGS)[draw.integers(0, len(PPGS), rows)],
        of([c.display for c in CANDIDATES]),
        of([c.mailer for c in CANDIDATES]),
        of([c.price_cut for c in CANDIDATES]),
    ]
    pq.write_table(pa.table(columns, schema=PLAN), path)
    return path


def compare(
    settings: Settings, release: LoadedRelease, reader: FeastReader, boosters: list[lightgbm.Booster], source: Path
) -> np.ndarray:
    """Model inputs of the first rows; raises AssertionError unless both predict the same for them."""
    planned = next(pq.ParquetFile(source).iter_batches(CEILING_ROWS)).to_pylist()
    places: dict[tuple[str, str], int] = {}
    where = [places.setdefault((row["outlet_id"], row["ppg_id"]), len(places)) for row in planned]
    entities = [{"outlet_id": outlet, "ppg_id": ppg} for outlet, ppg in places]
    read = read_rows(reader, entities, business_time=settings.business_time, defaults=release.defaults)
    known = {(c.display, c.mailer, c.price_cut): k for k, c in enumerate(CANDIDATES)}
    inputs = model_inputs(
        read.cells[where],
        CANDIDATES,
        chosen=np.array([known[row["display"], row["mailer"], row["price_cut"]] for row in planned]),
        week_start_day=coming_week_start_day(settings.business_time),
    )
    rows = release.heads.filled(release.heads.arranged(inputs))
    pq.write_table(pa.Table.from_pylist(planned, schema=PLAN), source.parent / "first.parquet")
    done = score_files(
        release,
        source.parent / "first.parquet",
        reader=reader,
        business_time=settings.business_time,
        into=source.parent / "compared",
        threads=THREADS,
    )
    got = pq.read_table(done.folder)
    for head, booster in zip(HEADS[:2], boosters, strict=False):
        np.testing.assert_array_equal(got[head].to_numpy(), booster.predict(rows, num_threads=THREADS))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--outlets", type=int, default=OUTLETS)
    given = parser.parse_args()
    main(given.rows, given.outlets)
