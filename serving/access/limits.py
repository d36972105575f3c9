"""How often a client may ask: a token bucket for each, as many as are kept in mind."""

import time
from collections import OrderedDict
from collections.abc import Callable

MOST_CLIENTS = 10_000


class TokenBuckets:
    """One process' count: each request takes a token of its client, `rate` of them come back a second."""

    def __init__(self, *, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: str) -> float:
        """Take one token; 0.0 if there was one, else seconds until there is."""
        now = self._clock()
        tokens, since = self._buckets.pop(client, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - since) * self._rate)
        wait = 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._rate
        self._buckets[client] = (tokens if wait else tokens - 1.0, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)  # whoever asked least lately has a full bucket again
        return wait
