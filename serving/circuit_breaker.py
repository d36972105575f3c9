"""A circuit breaker: a system that keeps failing is left alone for a moment, then one call finds out if it is back."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

MOST_FAILURES = 3
REST = timedelta(seconds=1)


class CircuitBreaker:
    """Closed until `failures` calls in a row failed, then open; after every `rest` one call is let through to probe.

    A probe that neither succeeds nor fails blocks nobody: the next one is let through a rest later.
    """

    def __init__(
        self,
        *,
        failures: int = MOST_FAILURES,
        rest: timedelta = REST,
        on_change: Callable[[bool], None] = lambda _: None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._most = failures
        self._rest = rest.total_seconds()
        self._on_change = on_change
        self._now = now
        self._lock = threading.Lock()
        self._failed = 0
        self._probe_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls are refused at the moment, probes aside."""
        return self._failed >= self._most

    def admits(self) -> bool:
        """Whether this call may be made; its result is to be reported."""
        if not self.is_open:
            return True
        with self._lock:
            is_due = self._now() >= self._probe_at
            if is_due:
                self._probe_at = self._now() + self._rest
            return is_due

    def succeeded(self) -> None:
        """A call was answered."""
        if not self._failed:
            return
        with self._lock:
            was_open, self._failed = self.is_open, 0
        if was_open:
            self._on_change(False)

    def failed(self) -> None:
        """A call failed or came too late."""
        with self._lock:
            self._failed += 1
            self._probe_at = self._now() + self._rest
            has_opened = self._failed == self._most
        if has_opened:
            self._on_change(True)
