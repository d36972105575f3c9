"""Millions of planned rows from Parquet to Parquet: a part per row group, so that a run that died goes on."""

import hashlib
import json
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from poplift.atomic import sync
from poplift.market_week import decided_week
from serving.batch import PLAN, BatchScorer, PlanError
from serving.online import FeatureReader
from serving.release import LoadedRelease

BLOCK_ROWS = 16_384  # more, and threads wait long for one another's first read; fewer, and parts are made of crumbs
JOB = "_job.json"  # readers of a folder pass over names that begin like this
_DIGEST_BYTES = 1 << 20


@dataclass(frozen=True)
class Scored:
    """A finished run: where its parts are, and how many rows have which status."""

    folder: Path
    rows: int
    statuses: dict[str, int]


def score_files(
    release: LoadedRelease,
    source: Path,
    *,
    reader: FeatureReader,
    business_time: datetime,
    into: Path,
    threads: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> Scored:
    """Score every row of a Parquet file, or of all of a folder, for the coming week.

    Answers go to `into/week=<first day>/<release>-<digest of the rows>/`. The columns are those of
    `serving.batch.PLAN`, others are left out; the answers are those of POST /v1/demand. One part is written for every
    row group of the source, whole or not at all. The same call after a kill goes on behind the last part, with the
    business time of its first start; after its end it writes nothing for that week. Memory does not grow with the
    rows. Raises PlanError for a source without rows or with other columns, and whatever the reader raises.
    """
    files = _files(source)
    folder = into / f"week={decided_week(business_time)}" / f"{release.id}-{_digest(files)}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        for left in folder.glob("*.part"):  # of a process that was killed; the lock says nobody is at it
            left.unlink()
        scorer = BatchScorer(release, reader, _started(folder, business_time))
        groups = [(file, group) for file in files for group in range(pq.ParquetFile(file).num_row_groups)]
        statuses: Counter[str] = Counter()
        with ThreadPoolExecutor(threads, thread_name_prefix="score") as pool:
            for number, (file, group) in enumerate(groups):
                part = folder / f"part-{number:06d}.parquet"
                if not part.exists():
                    _write(part, _scored(scorer, file, group, pool, threads=threads))
                statuses.update(_statuses(part))
                progress(f"{number + 1} of {len(groups)} parts, {statuses.total():,} rows")
    return Scored(folder, statuses.total(), dict(statuses))


def _files(source: Path) -> list[Path]:
    files = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    if not files or not all(file.is_file() for file in files):
        raise PlanError(f"{source}: there is no Parquet file")
    for file in files:
        try:
            schema = pq.read_schema(file)
        except pa.ArrowInvalid as error:
            raise PlanError(f"{file}: is not a Parquet file ({error})") from error
        absent = [name for name in PLAN.names if name not in schema.names]
        if absent:
            raise PlanError(f"{file}: needs the columns {', '.join(PLAN.names)}; it lacks {', '.join(absent)}")
    if not sum(pq.read_metadata(file).num_rows for file in files):
        raise PlanError(f"{source}: holds no rows")
    return files


def _digest(files: list[Path]) -> str:
    """Of the bytes of all files in their order: a run goes on only with the rows it began with."""
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while content := opened.read(_DIGEST_BYTES):
                total.update(content)
    return total.hexdigest()[:12]


def _started(folder: Path, business_time: datetime) -> datetime:
    """Business time of the first start: all parts of a run are about one instant."""
    path = folder / JOB
    if not path.exists():
        temporary = folder / f".{uuid.uuid4().hex}.part"
        temporary.write_text(json.dumps({"business_time": business_time.astimezone(UTC).isoformat()}))
        temporary.replace(path)
    return datetime.fromisoformat(json.loads(path.read_text())["business_time"])


def _scored(
    scorer: BatchScorer, file: Path, group: int, pool: ThreadPoolExecutor, *, threads: int
) -> Iterator[pa.RecordBatch]:
    """Scored blocks of one row group in their order, never more than two a thread in memory."""
    waiting: deque[Future[pa.RecordBatch]] = deque()
    source = pq.ParquetFile(file)
    size = _block_rows(source.metadata.row_group(group).num_rows, threads=threads)
    for block in source.iter_batches(size, row_groups=[group], columns=PLAN.names):
        waiting.append(pool.submit(lambda b: scorer.score(_as_planned(b, file)), block))
        if len(waiting) >= 2 * threads:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _block_rows(rows: int, *, threads: int) -> int:
    """The most rows a block, so that every thread has as many blocks as the others and none waits at the end."""
    rounds = -(-rows // (threads * BLOCK_ROWS))
    return max(1, -(-rows // (threads * max(1, rounds))))


def _as_planned(block: pa.RecordBatch, file: Path) -> pa.RecordBatch:
    try:
        return block.select(PLAN.names).cast(PLAN)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        types = ", ".join(f"{field.name} {field.type}" for field in PLAN)
        raise PlanError(f"{file}: its columns must be {types} ({error})") from error


def _write(part: Path, blocks: Iterator[pa.RecordBatch]) -> None:
    temporary = part.parent / f".{uuid.uuid4().hex}.part"
    writer: Any = None
    try:
        for block in blocks:
            writer = writer or pq.ParquetWriter(temporary, block.schema)
            writer.write_batch(block)
        if writer is None:
            return
        writer.close()
        sync(temporary)
        temporary.replace(part)
        sync(part.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _statuses(part: Path) -> Counter[str]:
    if not part.exists():  # of a row group without rows
        return Counter()
    counts = pq.read_table(part, columns=["status"])["status"].value_counts()
    return Counter({count["values"].as_py(): count["counts"].as_py() for count in counts})
