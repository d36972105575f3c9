"""Step: POS lines from the stream into the running features and the lake, at least once and without a trace of it.

A batch is judged, its cells are written online, and its lines are kept; every few seconds what was kept lands in the
lake as one part, and only then is it finished in the stream. Online comes first because it has to be fresh and can
be lost: after a crash the stream delivers again everything that had not landed, the open week is loaded from the lake
and written online as a whole. What had landed but was not finished is recognised by its arrival time and dropped.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import pyarrow as pa

from feature_repo.running import RunningWeek, RunningWriter
from flows.steps.progress import Progress, silent
from poplift.arrivals import Arrival
from poplift.feature_store import FeatureStoreError
from poplift.lake import Lake
from poplift.settings import Settings
from poplift.stream import EventStream, Message, RedisStream, StreamError


@dataclass(frozen=True)
class Pace:
    """How much at once, how often, and how long to wait."""

    batch: int = 2000
    wait: timedelta = timedelta(seconds=0.2)
    between_batches: timedelta = timedelta(seconds=0.1)
    land_every: timedelta = timedelta(seconds=30)
    land_lines: int = 100_000
    retry: timedelta = timedelta(seconds=1)
    say_every: timedelta = timedelta(seconds=1)


@dataclass
class Streamed:
    """What one consumer has done; `online` counts feature rows."""

    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    online: int = 0

    @property
    def lines(self) -> int:
        """Lines taken, whatever became of them."""
        return self.accepted + self.duplicates + self.refused


class Writer(Protocol):
    """Where feature rows go."""

    def write(self, rows: pa.Table) -> None:
        """Store rows of the running view; FeatureStoreError when that fails."""


@dataclass
class Consumer:
    """Takes lines while it holds the stream's lease; `stopping` ends it after the batch at hand."""

    settings: Settings
    stream: EventStream
    online: Writer
    pace: Pace = field(default_factory=Pace)
    progress: Progress = silent
    stopping: threading.Event = field(default_factory=threading.Event)
    done: Streamed = field(default_factory=Streamed)

    def run(self, *, ends: Callable[[], bool] | None = None) -> Streamed:
        """Consume until stopped or, with `ends`, until nothing is waiting and `ends` says that nothing will.

        Outages of stream and online store are waited out; with `ends` they are raised.
        """
        while not self.stopping.is_set():
            try:
                if self.stream.acquire():
                    if self._hold(ends or _never) and ends:
                        break
                    continue
                self.progress("another consumer is at work; standing by")
            except (StreamError, FeatureStoreError) as error:
                if ends:
                    raise
                self.progress(f"{error}; trying again")
            self.stopping.wait(self.pace.retry.total_seconds())
        return self.done

    def _hold(self, ends: Callable[[], bool]) -> bool:
        """Consume while the lease is ours; False when it was lost."""
        as_of = self.settings.now()
        # Small batches gain nothing from a second thread, and Redis needs the other core.
        held = _Held(self, RunningWeek(Lake(self.settings.lake_dir, threads=1), as_of=as_of))
        try:
            held.refresh()
            for page in held.pages(self.stream.unfinished()):
                if not self.stream.keep():
                    return False
                held.take(page)
            while not self.stopping.is_set():
                if not self.stream.keep():
                    return False
                began, is_last = time.monotonic(), ends()
                messages = self.stream.take(most=self.pace.batch, wait=self.pace.wait)
                held.take(messages)
                held.land_if_due()
                if is_last and not messages:
                    break
                # A breath between batches: fewer and larger ones cost less of the two cores.
                self.stopping.wait(max(0.0, self.pace.between_batches.total_seconds() - (time.monotonic() - began)))
        except (StreamError, FeatureStoreError):
            held.week.arrivals.land()  # the stream may have lost them, or deliver them again
            raise
        held.land()
        self.stream.release()
        return True


class _Held:
    """The open week, and the entries that are in it and not in the lake yet."""

    def __init__(self, consumer: Consumer, week: RunningWeek) -> None:
        self.week = week
        self._consumer = consumer
        self._unfinished: list[str] = []
        self._landed = self._said = time.monotonic()
        self._lines_said = consumer.done.lines

    def refresh(self) -> None:
        self._write(self.week.rows())

    def pages(self, messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
        size = self._consumer.pace.batch
        return (messages[start : start + size] for start in range(0, len(messages), size))

    def take(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        settings, done = self._consumer.settings, self._consumer.done
        is_wall = settings.business_clock == "wall"
        arrivals = [Arrival(m.id, m.appended_at if is_wall else settings.business_time, m.payload) for m in messages]
        taken, rows = self.week.take(arrivals, as_of=settings.now())
        self._write(rows)
        self._unfinished += [m.id for m in messages]
        done.accepted += taken.accepted
        done.duplicates += taken.duplicates
        done.refused += len(taken.refused)
        self._say()

    def land_if_due(self) -> None:
        pace = self._consumer.pace
        is_old = time.monotonic() - self._landed >= pace.land_every.total_seconds()
        if is_old or self.week.arrivals.unlanded >= pace.land_lines:
            self.land()

    def land(self) -> None:
        arrivals = self.week.arrivals
        arrivals.land()
        self._consumer.stream.finish(self._unfinished)
        self._unfinished = []
        if arrivals.is_behind():
            self.week.load(as_of=self._consumer.settings.now())
            self.refresh()
        self._landed = time.monotonic()

    def _write(self, rows: pa.Table) -> None:
        if len(rows):
            self._consumer.online.write(rows)
            self._consumer.done.online += len(rows)

    def _say(self) -> None:
        now, done = time.monotonic(), self._consumer.done
        if now - self._said >= self._consumer.pace.say_every.total_seconds() and done.lines > self._lines_said:
            rate = (done.lines - self._lines_said) / (now - self._said)
            behind = max(0, self._consumer.stream.waiting() - len(self._unfinished))
            self._consumer.progress(
                f"{rate:,.0f} events/s, {behind:,} waiting; {done.accepted:,} accepted, "
                f"{done.duplicates:,} duplicates, {done.refused:,} quarantined"
            )
            self._said, self._lines_said = now, done.lines


def open_stream(settings: Settings) -> RedisStream:
    """The stream of these settings; raises StreamError when no Redis is configured."""
    if settings.redis_url is None:
        raise StreamError(
            "no Redis is configured: set POPLIFT_REDIS_URL, or send lines to POST /v1/events, which works without"
        )
    return RedisStream(settings.redis_url, name=settings.database_prefix)


def consume(settings: Settings, progress: Progress = silent, *, once: bool = False) -> Streamed:
    """Consume the stream until Ctrl-C, or with `once` until it is empty; the batch at hand is finished first."""
    stream = open_stream(settings)
    with stopped_by_signals() as stopping:
        consumer = Consumer(settings, stream, RunningWriter(settings), progress=progress, stopping=stopping)
        return consumer.run(ends=_always if once else None)


def _always() -> bool:
    return True


def _never() -> bool:
    return False


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one of them interrupts as usual."""
    stopping = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, _: object) -> None:
        stopping.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, stop)
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
