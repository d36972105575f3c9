"""What was computed for the same model inputs before: features of an outlet change weekly, questions come all day."""

import threading
from collections.abc import Callable, Mapping

import mmh3
from cachetools import LRUCache

from serving.leaf_shares import Floats

MOST_BYTES = 16 * 1024 * 1024
ENTRY_BYTES = 1536  # of an entry beside its numbers: key, mapping, array objects


class Remembered:
    """Arrays by the content of their input, the ones used least lately forgotten; threads may share it.

    Inputs are told apart by 128 bits of MurmurHash3. What is remembered is read-only.
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[bytes, Mapping[str, Floats]] = LRUCache(most_bytes, getsizeof=_size)

    def get(self, rows: Floats, compute: Callable[[Floats], Mapping[str, Floats]]) -> Mapping[str, Floats]:
        """What `compute` says of these rows, now or earlier; it must depend on nothing else."""
        key = mmh3.mmh3_x64_128_digest(rows.tobytes()) + repr(rows.shape).encode()
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None:
            return kept
        found = compute(rows)
        for values in found.values():
            values.flags.writeable = False
        if _size(found) <= self._kept.maxsize:
            with self._lock:
                self._kept[key] = found
        return found


def _size(arrays: Mapping[str, Floats]) -> int:
    return ENTRY_BYTES + sum(values.nbytes for values in arrays.values())
