"""Reads a compiled plan from an online store: ages judged, values in columns, no registry, no Feast and no pandas.

Whatever the store: an entity nobody knows is NOT_FOUND, so is a feature that was never written for it; a stored null
is NULL_VALUE; a row older than the view's age limit, or later than business time plus the allowed skew, is
OUTSIDE_MAX_AGE and its values are withheld. A row is fresh to the very microsecond of its limit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from feature_repo.online.decoding import NUMBERS, Micros, Raw, Status, decode, statuses
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


class StoredValues(Protocol):
    """The raw read of one online store."""

    def fetch(self, plan: ReadPlan, keys: Sequence[Sequence[bytes]]) -> list[RawView]:
        """Every view of the plan, in order; `keys` has the distinct entity keys of each lookup of the plan.

        Raises whatever the store raises.
        """


@dataclass(frozen=True)
class Found:
    """What the store holds, per view of the plan: the raw view, and why entities may not be used.

    A verdict is 0 where the entity may be used, else the status of all its values; None where all may be.
    `rows` has, per lookup, which of its distinct entities answers each row asked for; None where they are the same.
    """

    plan: ReadPlan
    raw: Sequence[RawView]
    verdicts: Sequence[NDArray[np.uint8] | None]
    rows: Sequence[Rows | None]


class PlanReader:
    """Reads what the newest plan says; `plan` and `present_us` are asked at every read, so both may move."""

    def __init__(
        self, plan: Callable[[], ReadPlan], stored: StoredValues, *, present_us: Callable[[], int], skew_us: int
    ) -> None:
        self._plan = plan
        self._stored = stored
        self._present_us = present_us
        self._skew_us = skew_us

    def read(self, entities: Sequence[Mapping[str, Any]]) -> OnlineFeatures:
        """One row per entity, in order; raises EntityError, and errors of the store pass through."""
        plan = self._plan()
        columns = {name: [entity.get(name) for entity in entities] for name in plan.join_keys}
        return in_columns(self.find(plan, columns))

    def find(self, plan: ReadPlan, columns: Mapping[str, Sequence[Any]]) -> Found:
        """Read the entities of n rows, each distinct one once; `columns` has n values per join key.

        Raises EntityError where a value is not of its join key's type, and whatever the store raises.
        """
        check_entities(plan, columns)
        keys, rows = [], []
        for lookup in plan.lookups:
            encoded = lookup.keys.encode(columns)
            places: dict[bytes, int] = {}
            asked = [places.setdefault(key, len(places)) for key in encoded]
            keys.append(list(places))
            rows.append(None if len(places) == len(asked) else np.array(asked, dtype=np.intp))
        raw = self._stored.fetch(plan, keys)
        now = self._present_us()
        latest = now + self._skew_us
        verdicts = [_verdict(r.events, v.ttl_us, now, latest) for r, v in zip(raw, plan.views, strict=True)]
        return Found(plan, raw, verdicts, rows)


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
    is_fresh = all(verdict is None for verdict in found.verdicts)
    for block in found.plan.blocks:
        raws = [stored[view][place] for view, place in block.places]
        verdicts = [] if is_fresh else [found.verdicts[view] for view, _ in block.places]
        columns, others = _block(raws, block.value_type, verdicts, found.rows[block.lookup])
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
    for lookup, rows in zip(found.plan.lookups, found.rows, strict=True):
        for place in lookup.views:
            events = found.raw[place].events.astype(_INSTANT)
            if found.verdicts[place] is not None:
                events[found.raw[place].events == 0] = np.datetime64("NaT")
            instants[found.plan.views[place].name] = events if rows is None else events[rows]
    return instants
