"""Reads a compiled plan from an online store: ages judged, values in columns, no registry, no Feast and no pandas.

Whatever the store: an entity nobody knows is NOT_FOUND, so is a feature that was never written for it; a stored null
is NULL_VALUE; a row older than the view's age limit, or later than business time plus the allowed skew, is
OUTSIDE_MAX_AGE and its values are withheld. A row is fresh to the very microsecond of its limit.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from feature_repo.online.decoding import NUMBERS, Micros, Raw, Status, decode, statuses
from feature_repo.online.known_answers import Known, KnownAnswers
from feature_repo.online.plan import PlannedView, ReadPlan
from feature_repo.online.rules import usable
from poplift.feature_store import OnlineFeatures

Rows = NDArray[np.intp]
# Up to so many numbers a list is quicker than numpy.
_FEW = 32
_INSTANT = np.dtype("datetime64[us]")


class EntityError(ValueError):
    """A row does not name an entity as the feature views want it; the message says row, join key and both types."""


class RawView(NamedTuple):
    """What a store holds of n entities in one view: n serialised values a feature, n event times in µs (0: none)."""

    values: Sequence[Sequence[Raw]]
    events: Micros


def gather(view: PlannedView, keys: Sequence[bytes], cells: Iterable[tuple[int, bytes, str, bytes]]) -> RawView:
    """Cells of a table, in any order: event time, entity key, feature and value. The newest time is the entity's."""
    row_of = {key: row for row, key in enumerate(keys)}
    columns: dict[str, list[Raw]] = {feature.name: [None] * len(keys) for feature in view.features}
    events = [0] * len(keys)
    for event, key, name, value in cells:
        row = row_of[key]
        columns[name][row] = value
        events[row] = max(events[row], event)
    return RawView(list(columns.values()), np.array(events, dtype=np.int64))


@dataclass(frozen=True)
class Stored:
    """What a store holds: every view of a plan, in order, and the bytes that said so where the store tells them."""

    views: Sequence[RawView]
    said: bytes | None = None


class StoredValues(Protocol):
    """The raw read of one online store."""

    def fetch(self, plan: ReadPlan, keys: Sequence[Sequence[bytes]], *, unless: bytes | None = None) -> Stored | None:
        """Read the distinct entity keys of each lookup of the plan; raises whatever the store raises.

        None where the store says the very bytes of `unless`, which it said to these keys earlier.
        """


@dataclass(frozen=True)
class Asked:
    """The question of n rows: the distinct entity keys of each lookup of a plan.

    `rows` has, per lookup, which of its distinct entities answers each row asked for; None where they are the same.
    """

    plan: ReadPlan
    keys: Sequence[Sequence[bytes]]
    rows: Sequence[Rows | None]

    @classmethod
    def of(cls, plan: ReadPlan, columns: Mapping[str, Sequence[Any]]) -> "Asked":
        """Each distinct entity once; `columns` has n values per join key."""
        keys: list[list[bytes]] = []
        rows: list[Rows | None] = []
        for lookup in plan.lookups:
            encoded = lookup.keys.encode(columns)
            places: dict[bytes, int] = {}
            asked = [places.setdefault(key, len(places)) for key in encoded]
            keys.append(list(places))
            rows.append(None if len(places) == len(asked) else np.array(asked, dtype=np.intp))
        return cls(plan, keys, rows)


@dataclass(frozen=True)
class Found:
    """What the store holds, per view of the plan: the raw view, and why entities may not be used.

    A verdict is 0 where the entity may be used, else the status of all its values; None where all may be.
    """

    asked: Asked
    raw: Sequence[RawView]
    verdicts: Sequence[NDArray[np.uint8] | None]

    @property
    def is_usable(self) -> bool:
        """Whether no entity is absent, too old or too far ahead."""
        return all(verdict is None for verdict in self.verdicts)


class PlanReader:
    """Reads what the newest plan says; `plan` and `present_us` are asked at every read, so both may move.

    With `known` an answer is taken apart once: the store is read every time, and where it says the same bytes to the
    same question they mean the same.
    """

    def __init__(
        self,
        plan: Callable[[], ReadPlan],
        stored: StoredValues,
        *,
        present_us: Callable[[], int],
        skew_us: int,
        known: KnownAnswers | None = None,
    ) -> None:
        self._plan = plan
        self._stored = stored
        self._present_us = present_us
        self._skew_us = skew_us
        self._known = known

    def read(self, entities: Sequence[Mapping[str, Any]]) -> OnlineFeatures:
        """One row per entity, in order; raises EntityError, and errors of the store pass through."""
        plan = self._plan()
        columns = {name: [entity.get(name) for entity in entities] for name in plan.join_keys}
        if self._known is None:
            return in_columns(self.find(plan, columns))
        check_entities(plan, columns)
        return self._read_again(self._known, plan, columns)

    def find(self, plan: ReadPlan, columns: Mapping[str, Sequence[Any]]) -> Found:
        """Read the entities of n rows, each distinct one once; `columns` has n values per join key.

        Raises EntityError where a value is not of its join key's type, and whatever the store raises.
        """
        check_entities(plan, columns)
        asked = Asked.of(plan, columns)
        return self._judged(asked, self._read(asked))

    def _read_again(
        self, all_known: KnownAnswers, plan: ReadPlan, columns: Mapping[str, Sequence[Any]]
    ) -> OnlineFeatures:
        question = tuple(map(tuple, columns.values()))
        known = all_known.get(plan, question)
        asked = known.asked if known else Asked.of(plan, columns)
        stored = self._stored.fetch(plan, asked.keys, unless=known.said if known else None)
        if stored is None:
            if known and known.is_usable(self._present_us()):
                return known.answer
            stored = self._read(asked)
        found = self._judged(asked, stored)
        answer = in_columns(found)
        if stored.said is not None and found.is_usable and any(asked.keys):
            all_known.put(question, Known(asked, stored.said, answer, self._usable_us(found)))
        return answer

    def _read(self, asked: Asked) -> Stored:
        stored = self._stored.fetch(asked.plan, asked.keys)
        if stored is None:
            raise TypeError(f"{type(self._stored).__name__} left out what nobody had asked it to leave out")
        return stored

    def _judged(self, asked: Asked, stored: Stored) -> Found:
        now = self._present_us()
        latest = now + self._skew_us
        views = zip(stored.views, asked.plan.views, strict=True)
        return Found(asked, stored.views, [_verdict(raw.events, view.ttl_us, now, latest) for raw, view in views])

    def _usable_us(self, found: Found) -> tuple[int, int]:
        """The first and the last instant at which no age limit has come and no event time lies too far ahead."""
        ends = [
            int(raw.events.min()) + view.ttl_us
            for raw, view in zip(found.raw, found.asked.plan.views, strict=True)
            if view.ttl_us is not None
        ]
        return max(int(raw.events.max()) for raw in found.raw) - self._skew_us, min(ends, default=sys.maxsize)


def check_entities(plan: ReadPlan, columns: Mapping[str, Sequence[Any]]) -> None:
    """Raise EntityError for the first value that is not of its join key's type."""
    for name, kind in plan.join_keys.items():
        wanted = str if kind == "string" else int
        if all(type(value) is wanted for value in columns[name]):
            continue
        for row, value in enumerate(columns[name]):
            if not isinstance(value, wanted if kind == "string" else int | np.integer) or isinstance(value, bool):
                views = ", ".join(view.name for view in plan.views if name in view.keys.join_keys)
                raise EntityError(
                    f"row {row}: join key {name} is {value!r} ({type(value).__name__}), {views} want {kind}"
                )


def in_columns(found: Found) -> OnlineFeatures:
    """Values, statuses and event times as columns of the rows asked for."""
    values: dict[str, NDArray[Any]] = {}
    codes: dict[str, NDArray[np.uint8]] = {}
    instants = _instants(found)
    present = _present(len(next(iter(instants.values()), ())))
    stored = [raw.values for raw in found.raw]
    for block in found.asked.plan.blocks:
        raws = [stored[view][place] for view, place in block.places]
        verdicts = [] if found.is_usable else [found.verdicts[view] for view, _ in block.places]
        columns, others = _block(raws, block.value_type, verdicts, found.asked.rows[block.lookup])
        values.update(zip(block.columns, columns, strict=True))
        codes.update(dict.fromkeys(block.columns, present))
        codes.update((block.columns[at], code) for at, code in others)
    return OnlineFeatures(values=values, event_timestamps=instants, statuses=codes)


def _block(
    raws: Sequence[Sequence[Raw]],
    value_type: str,
    verdicts: Sequence[NDArray[np.uint8] | None],
    rows: Rows | None,
) -> tuple[Sequence[NDArray[Any]], Iterable[tuple[int, NDArray[np.uint8]]]]:
    """Columns of k features of n entities, as the rows ask, and the statuses of those that are not all present.

    No verdicts: all are fresh.
    """
    shape = len(raws), len(raws[0])
    flat = list(chain.from_iterable(raws))
    values = decode(flat, value_type).reshape(shape)
    if values.dtype == object and value_type in NUMBERS and len(raws) > 1:
        # One column with something else in it does not change the type of the others.
        parts = [_block([r], value_type, verdicts[at : at + 1], rows) for at, r in enumerate(raws)]
        return [v for (v,), _ in parts], [(at, c) for at, (_, own) in enumerate(parts) for _, c in own]
    stored = statuses(flat)
    if stored is None and not verdicts:
        return list(values if rows is None else values[:, rows]), ()
    codes = np.ones(shape, dtype=np.uint8) if stored is None else stored.reshape(shape)
    for feature, verdict in enumerate(verdicts):
        if verdict is not None:
            np.copyto(codes[feature], verdict, where=verdict > 0)
    values[codes != Status.PRESENT] = None
    if rows is not None:
        values, codes = values[:, rows], codes[:, rows]
    return list(values), enumerate(codes)


@lru_cache(maxsize=128)
def _present(count: int) -> NDArray[np.uint8]:
    """One array for all columns of all answers of this size."""
    codes = np.full(count, Status.PRESENT, dtype=np.uint8)
    codes.flags.writeable = False
    return codes


def _verdict(events: Micros, ttl_us: int | None, now: int, latest: int) -> NDArray[np.uint8] | None:
    oldest = None if ttl_us is None else now - ttl_us
    few = events.tolist() if len(events) <= _FEW else (int(events.min()), int(events.max()))
    if not few or (max(few) <= latest and min(few) >= max(oldest or 1, 1)):
        return None  # all may be used, which the ends tell
    good = usable(events, oldest_us=oldest, latest_us=latest) & (events != 0)
    verdict = np.where(good, 0, Status.OUTSIDE_MAX_AGE).astype(np.uint8)
    verdict[events == 0] = Status.NOT_FOUND
    return verdict


def _instants(found: Found) -> dict[str, NDArray[np.datetime64]]:
    instants = {}
    plan = found.asked.plan
    for lookup, rows in zip(plan.lookups, found.asked.rows, strict=True):
        for place in lookup.views:
            events = found.raw[place].events.astype(_INSTANT)
            if found.verdicts[place] is not None:
                events[found.raw[place].events == 0] = np.datetime64("NaT")
            instants[plan.views[place].name] = events if rows is None else events[rows]
    return instants
