"""The decision log: every served answer as one JSON line, written by a thread that no request waits for."""

import os
import queue
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import structlog
from pydantic_core import to_json

from poplift import clock
from poplift.assignment import CHOSEN, Draw
from poplift.atomic import sync
from serving.metrics import Metrics

SCHEMA = "decision_v1"
ROWS_A_BATCH = 2000
RETRY_SECONDS = 1.0
GATHER_SECONDS = 0.25  # so long an answer may wait for others to be written with; a sync each costs more than a choice

log = structlog.get_logger()


class DecisionLog:
    """Appends decision rows to `<folder>/<day>-<process>.jsonl`, flushed and fsynced a few times a second.

    `append` never blocks: while more than `capacity` rows wait for the disk, further answers are dropped and
    counted. A failed write (full disk) is taken back, so that trying does not fill the disk, and tried again in a new
    file; where it cannot be taken back a torn line is the last of its file and a row may appear twice: `decision_id`
    tells. `close` drains what is queued.
    """

    def __init__(self, folder: Path, *, metrics: Metrics, capacity: int = 20_000) -> None:
        self._folder = folder
        self._metrics = metrics
        self._capacity = capacity
        self._waiting = 0
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Sequence[Mapping[str, Any]] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._closing = threading.Event()
        self._file: FileIO | None = None
        self._whole_bytes = 0
        self._day = ""

    def start(self) -> None:
        """Start the writer thread."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer.start()

    def append(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Queue the rows of one answer; False when the queue was full and they were dropped (and counted)."""
        with self._lock:
            fits = self._waiting + len(rows) <= self._capacity
            self._waiting += len(rows) if fits else 0
        if fits:
            self._queue.put(rows)
        else:
            self._metrics.decisions_dropped.inc(len(rows))
        return fits

    def close(self, *, timeout: float = 10.0) -> None:
        """Write out what is queued, then stop; what the disk still refuses is counted as dropped."""
        self._closing.set()
        self._queue.put(None)
        self._writer.join(timeout)
        if self._writer.is_alive():
            log.error("decision_log_not_drained", rows=self._waiting)

    def _run(self) -> None:
        is_closed = False
        while not is_closed:
            lines, is_closed = self._gathered()
            if lines:
                self._write_until_done(lines)
                with self._lock:
                    self._waiting -= len(lines)
        self._forget_file()

    def _gathered(self) -> tuple[list[bytes], bool]:
        """The lines of the answers that come within a moment of the first, and whether none will come any more.

        Each answer is put into lines when it comes: all at once would hold up the answers of that moment.
        """
        lines: list[bytes] = []
        ends: float | None = None
        while len(lines) < ROWS_A_BATCH:
            try:
                rows = self._queue.get(timeout=None if ends is None else max(0.0, ends - time.monotonic()))
            except queue.Empty:
                break
            if rows is None:
                return lines, True
            lines.extend(to_json(row) + b"\n" for row in rows)
            ends = ends or time.monotonic() + GATHER_SECONDS
        return lines, False

    def _write_until_done(self, lines: Sequence[bytes]) -> None:
        text = b"".join(lines)
        while True:
            is_last_try = self._closing.is_set()
            try:
                self._write(text)
            except OSError as error:
                self._metrics.decision_errors.inc()
                log.error("decision_log_write_failed", folder=str(self._folder), error=str(error))  # noqa: TRY400 - no trace
                self._take_back()
                if is_last_try:
                    self._metrics.decisions_dropped.inc(len(lines))
                    return
                self._closing.wait(RETRY_SECONDS)
            else:
                self._metrics.decisions_written.inc(len(lines))
                return

    def _write(self, text: bytes) -> None:
        day = clock.wall_now().date().isoformat()
        if self._file is None or day != self._day:
            self._forget_file()
            # process ids come again in containers: a file belongs to one opening only
            path = self._folder / f"{day}-{uuid.uuid4().hex[:12]}.jsonl"
            self._file, self._day, self._whole_bytes = path.open("ab", buffering=0), day, 0
            sync(self._folder)
        left = memoryview(text)
        while left:
            left = left[self._file.write(left) :]
        sync(Path(self._file.name))
        self._whole_bytes += len(text)

    def _take_back(self) -> None:
        """Cut what was half written off the file and leave it; a file without a whole row goes."""
        if self._file is None:
            return
        try:
            self._file.truncate(self._whole_bytes)
            if not self._whole_bytes:
                Path(self._file.name).unlink()
        except OSError as error:
            log.warning("decision_log_not_cut", file=self._file.name, error=str(error))
        self._forget_file()

    def _forget_file(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                log.warning("decision_log_close_failed", file=self._file.name, error=str(error))
            self._file = None


def decision_ids(count: int) -> list[str]:
    """As many random UUIDs, version 4 (RFC 9562), drawn and written at once."""
    drawn = bytearray(os.urandom(16 * count))
    drawn[6::16] = bytes(byte & 0x0F | 0x40 for byte in drawn[6::16])
    drawn[8::16] = bytes(byte & 0x3F | 0x80 for byte in drawn[8::16])
    text = drawn.hex()
    each = (text[at : at + 32] for at in range(0, len(text), 32))
    return [f"{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}" for one in each]


def decision_row(
    *,
    decision_id: str,
    kind: str,
    request_id: str,
    business_time: str,
    week_start: str,
    release: Mapping[str, str],
    entity: Mapping[str, str],
    chosen: Mapping[str, Any],
    candidates: list[dict[str, Any]],
    features: dict[str, float | None],
    quality: Mapping[str, Any],
    draw: Draw | None = None,
    experiment: str | None = None,
) -> dict[str, Any]:
    """One row: what was known, what could have been chosen, what was, and with which probability.

    Without a `draw` nothing was drawn, and the propensity of what was chosen is 1.
    """
    return {
        "schema": SCHEMA,
        "decision_id": decision_id,
        "kind": kind,
        "wall_time": clock.wall_now().isoformat(),
        "business_time": business_time,
        "week_start": week_start,
        "request_id": request_id,
        **entity,
        "release_id": release["id"],
        "model_name": release["model_name"],
        "model_version": release["model_version"],
        "policy": release["policy"],
        "activation": chosen,
        "propensity": draw.propensity if draw else 1.0,
        "arm": draw.arm if draw else CHOSEN,
        "experiment": experiment,
        "candidates": candidates,
        "features": features,
        **quality,
    }
