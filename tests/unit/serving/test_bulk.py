"""Many planned rows from Parquet to Parquet: the API's answers, whole parts, and a killed run that goes on."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poplift.activation import CANDIDATES
from poplift.settings import Settings
from serving import bulk
from serving.batch import PLAN, BatchScorer, PlanError
from serving.bulk import score_files
from serving.release import LoadedRelease

NUMBERS = ("price_usd", "transactions", "transactions_low", "transactions_high", "units")
PPGS = [f"m1-soft-drinks-{n}" for n in range(27)]


def planned(rows: int, seed: int = 1) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    plans = [CANDIDATES[k] for k in draw.integers(0, len(CANDIDATES), rows)]
    return pd.DataFrame(
        {
            "outlet_id": draw.choice(["367", "406", "nowhere"], rows, p=[0.5, 0.4, 0.1]),
            "ppg_id": draw.choice(PPGS, rows),
            "display": [p.display for p in plans],
            "mailer": [p.mailer for p in plans],
            "price_cut": [p.price_cut for p in plans],
        }
    )


def write(frame: pd.DataFrame, path: Path, *, group: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=group)
    return path


@pytest.fixture
def score(loaded: LoadedRelease, store: Any, settings: Settings, tmp_path: Path) -> Any:
    def run(source: Path, **options: Any) -> Any:
        given = {"reader": store, "business_time": settings.business_time, "into": tmp_path / "scores", **options}
        return score_files(loaded, source, **given)

    return run


def answers(folder: Path) -> pd.DataFrame:
    return pq.read_table(folder).to_pandas()  # as a person would: the folder as a whole, parts in their order


def stamps(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != ".lock"}


@pytest.mark.parametrize("threads", [1, 3])
def test_scores_are_those_of_the_api_row_by_row(score: Any, client: httpx.Client, tmp_path: Path, threads: int) -> None:
    frame = planned(450)
    done = score(write(frame, tmp_path / "plan.parquet"), threads=threads)
    got = answers(done.folder)
    pd.testing.assert_frame_equal(got[PLAN.names], frame)
    known = frame[frame["outlet_id"] != "nowhere"]
    asked = [
        {
            "outlet_id": row.outlet_id,
            "ppg_id": row.ppg_id,
            "activation": {"display": row.display, "mailer": row.mailer, "price_cut": row.price_cut},
        }
        for row in known.itertuples()
    ]
    answered = client.post("/v1/demand", json={"rows": asked}).json()["rows"]
    for name in (*NUMBERS, "degraded"):
        assert got.loc[known.index, name].tolist() == [row[name] for row in answered]
    assert got.loc[known.index, "activation"].tolist() == [row["activation_name"] for row in answered]
    assert done.rows == 450
    assert done.statuses == {"scored": len(known), "unknown": 450 - len(known)}


def test_rows_with_an_activation_that_cannot_be_are_kept_with_their_reason_and_counted(
    score: Any, tmp_path: Path
) -> None:
    frame = planned(6).assign(outlet_id="367").astype({"display": object, "price_cut": object})
    frame.loc[1, "price_cut"] = 0.9
    frame.loc[2, "price_cut"] = float("nan")
    frame.loc[3, "display"] = None
    done = score(write(frame, tmp_path / "plan.parquet"))
    got = answers(done.folder)
    assert got["status"].tolist() == ["scored", "invalid", "invalid", "invalid", "scored", "scored"]
    assert [flags.split(":")[0] for flags in got["flags"][1:4]] == ["price_cut", "price_cut", "display"]
    assert got.loc[1:3, list(NUMBERS)].isna().all(axis=None)
    assert done.statuses == {"scored": 3, "invalid": 3}


def test_the_same_call_again_writes_nothing_and_other_rows_have_a_folder_of_their_own(
    score: Any, tmp_path: Path
) -> None:
    source = write(planned(250), tmp_path / "plan.parquet")
    first = score(source)
    before = stamps(first.folder)
    assert score(source) == first
    assert stamps(first.folder) == before
    assert score(write(planned(250, seed=2), tmp_path / "plan.parquet")).folder != first.folder


def test_a_run_that_failed_goes_on_behind_its_last_part(
    score: Any, store: Any, tmp_path: Path, settings: Settings
) -> None:
    source = write(planned(500), tmp_path / "in" / "plan.parquet")
    read, calls = store.read, []

    def failing(entities: Any) -> Any:
        calls.append(entities)
        if len(calls) == 3:
            raise OSError("store gone")
        return read(entities)

    store.read = failing
    with pytest.raises(OSError, match="store gone"):
        score(source.parent)
    (folder,) = (tmp_path / "scores" / "week=2018-01-01").iterdir()
    kept = stamps(folder)
    assert [name for name in sorted(kept) if name.startswith("part-")] == ["part-000000.parquet", "part-000001.parquet"]
    (folder / ".left.part").write_bytes(b"half")
    later = settings.business_time + timedelta(days=1)
    done = score(source.parent, business_time=later)  # with the instant of the first start
    assert stamps(folder).items() >= kept.items()
    assert not list(folder.glob("*.part"))
    assert set(answers(done.folder)["week_start"].astype(str)) == {"2018-01-01"}
    whole = score(source, into=tmp_path / "at once")
    pd.testing.assert_frame_equal(answers(done.folder), answers(whole.folder))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: write(planned(5).drop(columns="mailer"), p), "it lacks mailer"),
        (lambda p: write(planned(0), p), "holds no rows"),
        (lambda p: write(planned(5).assign(price_cut="deep"), p), "must be outlet_id string"),
        (lambda p: p.write_bytes(b"no parquet") and None, "is not a Parquet file"),
        (lambda p: None, "there is no Parquet file"),
    ],
)
def test_a_source_that_cannot_be_scored_is_refused_by_name(score: Any, tmp_path: Path, make: Any, message: str) -> None:
    path = tmp_path / "plan.parquet"
    make(path)
    with pytest.raises(PlanError, match=message):
        score(path)


def test_blocks_of_any_size_give_the_same_answers(loaded: LoadedRelease, store: Any, settings: Settings) -> None:
    scorer = BatchScorer(loaded, store, settings.business_time)
    table = pa.Table.from_pandas(planned(120), schema=PLAN, preserve_index=False)
    whole = scorer.score(table.combine_chunks().to_batches()[0])
    for size in (1, 7, 50):
        parts = [scorer.score(block) for block in table.to_batches(max_chunksize=size)]
        assert pa.Table.from_batches(parts).combine_chunks().to_batches()[0].equals(whole)


PROGRAM = """
import importlib.util, sys
from pathlib import Path
from poplift.settings import load_settings
from serving.bulk import score_files
from serving.current import load_current

spec = importlib.util.spec_from_file_location("stores", sys.argv[1])
stores = importlib.util.module_from_spec(spec)
sys.modules["stores"] = stores
spec.loader.exec_module(stores)
settings = load_settings(home=Path(sys.argv[2]))
reader = stores.MemoryStore.filled()
score_files(load_current(settings.releases_dir), Path(sys.argv[3]), reader=reader, threads=2,
            business_time=settings.business_time, into=Path(sys.argv[4]))
# the kernel's count of this process alone: getrusage counts the parent it was forked from
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(active: Any, settings: Settings, tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        source = write(planned(rows), tmp_path / f"{rows}.parquet", group=100_000)
        arguments = [
            str(Path(__file__).with_name("conftest.py")),
            str(settings.home),
            str(source),
            str(tmp_path / "out"),
        ]
        done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
        return int(done.stdout)

    small = peak(200_000)
    assert peak(1_600_000) < small + 40


@pytest.mark.parametrize(("rows", "threads", "blocks"), [(100_000, 2, 8), (100_000, 1, 7), (5, 2, 2), (32_769, 2, 4)])
def test_every_thread_has_as_many_blocks_as_the_others(rows, threads, blocks):
    size = bulk._block_rows(rows, threads=threads)
    assert size <= bulk.BLOCK_ROWS
    assert -(-rows // size) == blocks
