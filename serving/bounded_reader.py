"""Reads under load and when the store fails: a deadline, a circuit breaker, one read for all who ask it at once."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as DeadlineError
from dataclasses import dataclass, field
from datetime import timedelta

from serving.circuit_breaker import CircuitBreaker
from serving.online import Entity, FeatureReader, OnlineFeatures, StoreUnavailableError

Key = tuple[str, ...]


class BoundedReader:
    """A reader with a deadline: a store that hangs costs a request at most that long, never the service.

    Reads are made by `workers` threads, so that they can be left behind. While the reader `ends_in_time` by itself they
    are made by whoever asks first, which saves waking two threads. A store that keeps failing is not asked at all but
    for a probe now and then. Requests that ask the same while it is being read share that read; nothing is kept once it
    has ended.
    """

    def __init__(
        self,
        reader: FeatureReader,
        *,
        deadline: timedelta,
        workers: int = 4,
        ends_in_time: Callable[[], bool] = lambda: False,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._reader = reader
        self._seconds = deadline.total_seconds()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="online-read")
        self._ends_in_time = ends_in_time
        self._breaker = breaker or CircuitBreaker()
        self._lock = threading.Lock()
        self._running: dict[Key, _Running] = {}

    def read(self, entities: Sequence[Entity]) -> OnlineFeatures:
        """Read in time or raise StoreUnavailableError; what is returned may be shared and is not to be changed."""
        running, is_first = self._join(tuple(e[name] for e in entities for name in ("outlet_id", "ppg_id")))
        if is_first and self._ends_in_time():
            self._read(running, entities)
        elif is_first:
            self._pool.submit(self._read, running, entities)
        try:
            return running.future.result(timeout=self._seconds)
        except DeadlineError as error:
            if self._has_ended(running):  # once for all who waited; who asks from now on gets a read of its own
                running.future.cancel()
                self._breaker.failed()
            raise StoreUnavailableError(f"no answer within {self._seconds:g} s") from error
        except Exception as error:
            raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Let running reads end by themselves and take no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _join(self, key: Key) -> "tuple[_Running, bool]":
        """The read of these entities, and whether it is new: who began it sees to it."""
        with self._lock:
            running = self._running.get(key)
            if running is not None:
                return running, False
            if not self._breaker.admits():
                raise StoreUnavailableError("it has failed several times in a row and is left alone for a moment")
            running = self._running[key] = _Running(key)
            return running, True

    def _read(self, running: "_Running", entities: Sequence[Entity]) -> None:
        if not running.future.set_running_or_notify_cancel():
            return
        # ended before the result is seen: whoever has an answer and asks again gets a new read
        try:
            found = self._reader.read(entities)
        except BaseException as error:  # noqa: BLE001 - handed to all who wait for it
            if self._has_ended(running):
                self._breaker.failed()
            running.future.set_exception(error)
        else:
            if self._has_ended(running):
                self._breaker.succeeded()
            running.future.set_result(found)

    def _has_ended(self, running: "_Running") -> bool:
        """Let nobody join it any more; False where it had ended before, by its deadline."""
        with self._lock:
            is_running = self._running.get(running.key) is running
            if is_running:
                del self._running[running.key]
            return is_running


@dataclass(eq=False)
class _Running:
    key: Key
    future: Future[OnlineFeatures] = field(default_factory=Future)
