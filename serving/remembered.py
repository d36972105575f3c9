"""What was computed for the same model inputs before: features of an outlet change weekly, questions come all day."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

import mmh3

from serving.leaf_shares import Floats

MOST_BYTES = 16 * 1024 * 1024
ENTRY_BYTES = 1536  # of an entry beside its numbers: key, mapping, array objects


class Remembered:
    """Arrays by the content of their input, the ones used least lately forgotten; threads may share it.

    Inputs are told apart by 128 bits of MurmurHash3. What is remembered is read-only.
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, Mapping[str, Floats]] = OrderedDict()

    def get(self, rows: Floats, compute: Callable[[Floats], Mapping[str, Floats]]) -> Mapping[str, Floats]:
        """What `compute` says of these rows, now or earlier; it must depend on nothing else."""
        key = mmh3.mmh3_x64_128_digest(rows.tobytes()) + repr(rows.shape).encode()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = compute(rows)
        for values in found.values():
            values.flags.writeable = False
        with self._lock:
            if key not in self._kept:
                self._kept[key] = found
                self._bytes += _size(found)
            while self._bytes > self._most_bytes:
                _, forgotten = self._kept.popitem(last=False)
                self._bytes -= _size(forgotten)
        return found


def _size(arrays: Mapping[str, Floats]) -> int:
    return ENTRY_BYTES + sum(values.nbytes for values in arrays.values())
