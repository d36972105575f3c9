"""Step: a week of the source sent through the stream at a steady rate, to see it work without a till."""

import json
import threading
import time
from collections.abc import Sequence
from datetime import datetime

from feature_repo.running import RunningWriter
from flows.steps.progress import Progress, silent
from flows.steps.stream import Consumer, Streamed, open_stream, stopped_by_signals
from poplift.contracts.tables import POS_LINES
from poplift.lake import Lake
from poplift.settings import Settings
from poplift.sources.ingest import open_source
from poplift.stream import EventStream

SENDS_A_SECOND = 20


class ReplayError(Exception):
    """There is nothing to replay; the message says what to change."""


def replay_week(settings: Settings, progress: Progress = silent, *, week: int, rate: int) -> Streamed:
    """Send the lines of `week` at `rate` a second and consume until they are applied, or Ctrl-C."""
    lines = lines_of(settings, week=week)
    stream = open_stream(settings)
    with stopped_by_signals() as stopping:
        sender = threading.Thread(target=send, args=(open_stream(settings), lines, rate, stopping), daemon=True)
        consumer = Consumer(settings, stream, RunningWriter(settings), progress=progress, stopping=stopping)
        sender.start()
        return consumer.run(ends=lambda: not sender.is_alive())


def lines_of(settings: Settings, *, week: int) -> list[bytes]:
    """The source's lines of a week as the stream carries them, in the order in which they were sold.

    Raises ReplayError when there are none.
    """
    source = open_source(settings)
    connection = Lake(settings.lake_dir, threads=settings.threads).connection
    source.open(connection)
    columns = [c for c in POS_LINES.column_names if c != "created_at"]
    rows = connection.execute(
        f"SELECT {', '.join(columns)} FROM ({source.tables()['pos_lines']}) WHERE week = ? ORDER BY sold_at, 1, 2",
        [week],
    ).fetchall()
    if not rows:
        raise ReplayError(f"the source {source.name} has no line in week {week}")
    return [json.dumps(dict(zip(columns, row, strict=True)), default=datetime.isoformat).encode() for row in rows]


def send(stream: EventStream, lines: Sequence[bytes], rate: int, stopping: threading.Event) -> None:
    """Append `lines` at `rate` a second, in the rhythm of the clock whatever a single append takes."""
    began, size = time.monotonic(), max(1, rate // SENDS_A_SECOND)
    for start in range(0, len(lines), size):
        if stopping.wait(max(0.0, began + start / rate - time.monotonic())):
            return
        stream.append(lines[start : start + size])
