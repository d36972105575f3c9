"""What the online store says of outlet and ppg, read once for all the rows planned for them."""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from serving.online import Entity, Floats, OnlineRows

MOST_PAIRS = 200_000  # near 0.8 kB each


class Known(NamedTuple):
    """One pair: its batch features, why it is unknown if it is, the flags of its row, and whether it is degraded."""

    cells: Floats
    unknown: str | None
    flags: tuple[str, ...]
    degraded: bool


class KnownPairs:
    """Pairs read earlier; beyond `most` only those just asked for are kept. Threads may share it."""

    def __init__(self, *, most: int = MOST_PAIRS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Known] = {}

    def get(self, pairs: Sequence[tuple[str, str]], read: Callable[[Sequence[Entity]], OnlineRows]) -> list[Known]:
        """What is known of different (outlet_id, ppg_id), in order; `read` is asked for those that are new.

        Raises what `read` raises, and then remembers none of its pairs.
        """
        with self._lock:  # one thread reads, the others would only ask the same and fight it for the interpreter
            known = self._known
            new = [pair for pair in pairs if pair not in known]
            if new:
                online = read([{"outlet_id": outlet, "ppg_id": ppg} for outlet, ppg in new])
                rows = zip(online.cells, online.unknown, online.flags, online.degraded.tolist(), strict=True)
                found = dict(zip(new, map(Known._make, rows), strict=True))
                if len(known) + len(found) > self._most:
                    known = {pair: known[pair] for pair in pairs if pair in known}
                known |= found
                self._known = known
            return [known[pair] for pair in pairs]
