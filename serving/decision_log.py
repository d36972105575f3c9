"""The decision log: every served answer as one JSON line, written by a thread that no request waits for."""

import json
import queue
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import structlog

from poplift import clock
from serving.metrics import Metrics
from serving.release import sync

SCHEMA = "decision_v1"
ROWS_A_BATCH = 2000
RETRY_SECONDS = 1.0

log = structlog.get_logger()


class DecisionLog:
    """Appends decision rows to `<folder>/<day>-<process>.jsonl`, flushed and fsynced batch by batch.

    `append` never blocks: while more than `capacity` rows wait for the disk, further answers are dropped and
    counted. A failed write (full disk) is tried again in a new file, so a torn line is always the last of its
    file and a row may appear twice: `decision_id` tells. `close` drains what is queued.
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
        self._file: TextIO | None = None
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
        done = False
        while not done:
            batch: list[Mapping[str, Any]] = []
            item = self._queue.get()
            while True:
                if item is None:
                    done = True
                    break
                batch.extend(item)
                if len(batch) >= ROWS_A_BATCH:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            if batch:
                self._write_until_done(batch)
                with self._lock:
                    self._waiting -= len(batch)
        self._forget_file()

    def _write_until_done(self, batch: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(row, allow_nan=False, separators=(",", ":")) + "\n" for row in batch)
        while True:
            try:
                self._write(text)
            except OSError as error:
                self._metrics.decision_errors.inc()
                log.error("decision_log_write_failed", folder=str(self._folder), error=str(error))  # noqa: TRY400 - no trace
                self._forget_file()
                if self._closing.wait(RETRY_SECONDS):
                    self._metrics.decisions_dropped.inc(len(batch))
                    return
            else:
                self._metrics.decisions_written.inc(len(batch))
                return

    def _write(self, text: str) -> None:
        day = clock.wall_now().date().isoformat()
        if self._file is None or day != self._day:
            self._forget_file()
            # process ids come again in containers: a file belongs to one opening only
            path = self._folder / f"{day}-{uuid.uuid4().hex[:12]}.jsonl"
            self._file, self._day = path.open("a", encoding="utf-8"), day
            sync(self._folder)
        self._file.write(text)
        self._file.flush()
        sync(Path(self._file.name))

    def _forget_file(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                log.warning("decision_log_close_failed", file=self._file.name, error=str(error))
            self._file = None


def decision_row(
    *,
    kind: str,
    request_id: str,
    business_time: str,
    week_start: str,
    release: Mapping[str, str],
    entity: Mapping[str, str],
    chosen: Mapping[str, Any],
    candidates: Sequence[Mapping[str, Any]],
    features: Mapping[str, float | None],
    quality: Mapping[str, Any],
) -> dict[str, Any]:
    """One row: what was known, what could have been chosen, what was, and with which probability.

    The policy is deterministic, so the propensity of what it chose is 1.
    """
    return {
        "schema": SCHEMA,
        "decision_id": str(uuid.uuid4()),
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
        "propensity": 1.0,
        "candidates": list(candidates),
        "features": dict(features),
        **quality,
    }
