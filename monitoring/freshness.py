"""How old the newest feature value of every view is, against the age it may have: offline and online."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

State = Literal["ok", "soft", "hard", "empty", "future"]
Store = Literal["offline", "online"]


class AgedView(Protocol):
    """What freshness needs of a view of the feature catalog."""

    @property
    def name(self) -> str:
        """Name of the feature view."""

    @property
    def soft_age(self) -> timedelta:
        """Age from which answers are flagged."""

    @property
    def ttl(self) -> timedelta:
        """Age from which values are not used any more."""


@dataclass(frozen=True)
class FreshnessRow:
    """Newest event of one view in one store; `age` is None when the view is empty there."""

    view: str
    store: Store
    newest: datetime | None
    age: timedelta | None
    soft_age: timedelta
    hard_age: timedelta
    state: State


def freshness(
    views: Iterable[AgedView], *, newest: Mapping[str, datetime | None], store: Store, as_of: datetime
) -> tuple[FreshnessRow, ...]:
    """Grade every view: `newest` maps view name to its newest event time in `store`; none or absent is empty.

    `as_of` is business time. Exactly at an age limit still counts as within it. An event later than `as_of`
    is `future`: some online stores keep such a value for ever, because every true one looks older.
    Raises ValueError for a time without a zone.
    """
    _require_zone(as_of, "as_of")
    rows = []
    for view in views:
        event = newest.get(view.name)
        if event is not None:
            _require_zone(event, f"the newest event of view {view.name}")
        age = None if event is None else as_of - event
        state = _state(age, view.soft_age, view.ttl)
        rows.append(FreshnessRow(view.name, store, event, age, view.soft_age, view.ttl, state))
    return tuple(rows)


def _state(age: timedelta | None, soft: timedelta, hard: timedelta) -> State:
    if age is None:
        return "empty"
    if age < timedelta(0):
        return "future"
    if age > hard:
        return "hard"
    return "soft" if age > soft else "ok"


def _require_zone(moment: datetime, what: str) -> None:
    if moment.tzinfo is None:
        raise ValueError(f"{what} ({moment.isoformat()}) has no time zone; all times here are UTC")
