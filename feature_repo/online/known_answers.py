"""Answers of a store that were taken apart before: features of an outlet change weekly, questions come all day."""

import threading
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetools import LRUCache

if TYPE_CHECKING:
    from feature_repo.online.plan import ReadPlan
    from feature_repo.online.reader import Asked
    from poplift.feature_store import OnlineFeatures

MOST_BYTES = 16 * 1024 * 1024
_ENTRY_BYTES = 8 * 1024  # of an entry beside what grows with its rows: arrays, mappings, keys
_ROW_BYTES = 256


@dataclass(frozen=True)
class Known:
    """A question, the bytes the store said to it, and what they mean from one instant to another (µs, both included).

    All of its values may be used between the two; the answer is read-only.
    """

    asked: "Asked"
    said: bytes
    answer: "OnlineFeatures"
    usable_us: tuple[int, int]

    def is_usable(self, now_us: int) -> bool:
        """Whether no age limit has come and no event time lies too far ahead."""
        return self.usable_us[0] <= now_us <= self.usable_us[1]

    @property
    def size(self) -> int:
        """Bytes it takes, roughly."""
        values = sum(column.nbytes for column in self.answer.values.values())
        rows = max((len(column) for column in self.answer.values.values()), default=0)
        return _ENTRY_BYTES + len(self.said) + values + rows * _ROW_BYTES


class KnownAnswers:
    """By question, those used least lately forgotten; threads may share it."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[Hashable, Known] = LRUCache(most_bytes, getsizeof=lambda known: known.size)

    def get(self, plan: "ReadPlan", question: Hashable) -> Known | None:
        """What is known of a question under this very plan."""
        with self._lock:
            known = self._kept.get(question)
        return known if known is not None and known.asked.plan is plan else None

    def put(self, question: Hashable, known: Known) -> None:
        """Keep it in the place of what was known; one larger than all memory is not kept."""
        for column in known.answer.values.values():
            column.flags.writeable = False
        with self._lock:
            if known.size <= self._kept.maxsize:
                self._kept[question] = known
            else:
                self._kept.pop(question, None)
