"""Ten million planned rows from Parquet to Parquet, beside the package's `Booster.predict` on blocks in memory."""

import argparse
import resource
import tempfile
import time
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


def main(rows: int) -> None:
    """Compare the predictions of both, then take a file and a block in turns and keep the result."""
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as name:
        folder = Path(name)
        settings = home(folder / "home", count=OUTLETS, database_prefix="bench")
        release, reader = load_current(settings.releases_dir), FeastReader(settings)
        sources = [plan(folder / f"plan-{number:02d}.parquet", rows // FILES, seed=number) for number in range(FILES)]
        boosters = [lightgbm.Booster(model_file=str(release.folder / f"{head}.lgb")) for head in HEADS]
        inputs = compare(settings, release, reader, boosters, sources[0])
        ours, ceiling, peaks = [], [], []
        for number, source in enumerate(sources):
            for arm in (OURS, CEILING) if number % 2 == 0 else (CEILING, OURS):
                began = time.perf_counter()
                if arm == OURS:
                    score_files(
                        release,
                        source,
                        reader=reader,
                        business_time=settings.business_time,
                        into=folder / "scores",
                        threads=THREADS,
                    )
                    ours.append((time.perf_counter() - began) / (rows // FILES))
                    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
                else:
                    for booster in boosters:
                        booster.predict(inputs, num_threads=THREADS)
                    ceiling.append((time.perf_counter() - began) / len(inputs))
    middle, low, high = interval(ceiling, ours)
    Result(
        name="batch_scoring",
        goal=f"{rows:,} rows on {THREADS} threads at {GOAL:.0%} or more of the ceiling's rows a second, by the lower "
        "end of the 95 % interval, and memory flat in rows",
        met=low >= GOAL and peaks[-1] < 1.1 * peaks[0],
        columns=("what", "rows/s", "of the ceiling", "95 % interval", "peak MB, first and last file"),
        rows=(
            (CEILING, f"{1 / np.mean(ceiling):,.0f}", "1", "", ""),
            (
                OURS,
                f"{1 / np.mean(ours):,.0f}",
                f"{middle:.2f}",
                f"{low:.2f}–{high:.2f}",
                f"{peaks[0]:.0f}, {peaks[-1]:.0f}",
            ),
        ),
    ).save()


def plan(path: Path, rows: int, *, seed: int) -> Path:
    """A file of planned rows in random order."""
    draw = np.random.default_rng(seed)
    chosen = draw.integers(0, len(CANDIDATES), rows)

    def of(values: list[object]) -> np.ndarray:
        return np.array(values)[chosen]

    columns = [
        np.array(outlets(OUTLETS))[draw.integers(0, OUTLETS, rows)],
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
    main(parser.parse_args().rows)
