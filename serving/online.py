"""From an outlet and its ppgs to model inputs: online read, ages at business time, planned activations."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from feature_repo.catalog import (
    BATCH_FEATURES,
    DEMAND_SERVING,
    MODEL_FEATURES,
    ON_DEMAND,
    ON_DEMAND_INPUTS,
    VIEWS,
    View,
)
from feature_repo.transformations.planned_activation import planned_columns
from poplift.activation import Activation
from poplift.market_week import day_number, decided_week
from poplift.settings import Settings

BASE_PRICE = "base_price_13w"
UNAVAILABLE = "unavailable"  # flag of every view when the store could not be read

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Places = NDArray[np.intp]
Entity = Mapping[str, str]
_COLUMN = {name: place for place, name in enumerate(MODEL_FEATURES)}
_SOFT_AGES = np.array([[view.soft_age.total_seconds()] for view in VIEWS])
_ENDS = np.cumsum([len(view.features) for view in VIEWS]).tolist()
_OF_VIEW = {view.name: slice(end - len(view.features), end) for view, end in zip(VIEWS, _ENDS, strict=True)}

log = structlog.get_logger()


class StoreUnavailableError(Exception):
    """The online store did not answer in time or failed; the cause is chained for the log."""


class OnlineFeatures(Protocol):
    """What a read gives: a value per row and feature (NaN: missing), an event time per row and view."""

    @property
    def values(self) -> Mapping[str, Floats]:
        """One array per feature."""

    @property
    def event_timestamps(self) -> Mapping[str, NDArray[np.datetime64]]:
        """One array per view, UTC; NaT where the view has no row of the entity."""


class FeatureReader(Protocol):
    """Reads the batch features of the serving feature service, one row per entity, order kept."""

    def read(self, entities: Sequence[Entity]) -> OnlineFeatures:
        """Features of every entity; raises whatever the store raises."""


class FeastReader:
    """The online store that Feast fills, opened at the first read and read by the plan that `poplift features` left.

    Without a plan it is read through Feast and its registry, whose import takes seconds, until there is one.
    """

    def __init__(self, settings: Settings, *, service: str = DEMAND_SERVING) -> None:
        self._settings = settings
        self._service = service
        self._opening = threading.Lock()
        self._store: FeatureReader | None = None
        self._is_planned = False

    def read(self, entities: Sequence[Entity]) -> OnlineFeatures:
        """Features of every entity; raises whatever the store raises."""
        read = self._opened().read(entities)
        unknown = [name for name in BATCH_FEATURES if name not in read.values]
        if unknown:
            raise StoreUnavailableError(f"the registry does not know {', '.join(unknown)}: run `poplift features`")
        return read

    @property
    def ends_in_time(self) -> bool:
        """Whether a read gives up by itself, as the deadlines of Redis' socket make it; opening a store does not."""
        return self._is_planned and self._settings.online_store_kind == "redis"

    def _opened(self) -> FeatureReader:
        if self._store is not None and self._is_planned:
            return self._store
        from feature_repo.online.opening import open_reader

        with self._opening:
            if self._store is None or not self._is_planned:
                try:
                    self._store = open_reader(self._settings, service=self._service, remembers=True)
                    self._is_planned = True
                except FileNotFoundError as error:
                    if self._store is None:
                        log.warning("no_read_plan", file=error.filename, effect="slow reads; run `poplift features`")
                        self._store = self._through_feast()
            return self._store

    def _through_feast(self) -> FeatureReader:
        from poplift.feature_store import OnlineReader

        return OnlineReader(self._settings, service=self._service)


@dataclass(frozen=True)
class OnlineRows:
    """Batch features ready for the model: n rows in the order asked, with what is known of their quality.

    `cells` is n x `BATCH_FEATURES`; `unusable` says by view which rows had its features replaced by defaults.
    """

    cells: Floats
    unknown: tuple[str | None, ...]
    flags: tuple[tuple[str, ...], ...]
    degraded: Mask
    unusable: Mapping[str, Mask]
    events: Mapping[str, NDArray[np.datetime64]]
    ages_hours: Mapping[str, Floats]
    missing: Mapping[str, int]

    def column(self, name: str) -> Floats:
        """One batch feature of every row."""
        return self.cells[:, _COLUMN[name]]

    @property
    def nothing_known(self) -> bool:
        """Whether the store has no row of any view for any entity."""
        return all(bool(np.isnat(events).all()) for events in self.events.values())

    @cached_property
    def oldest(self) -> list[tuple[str, datetime | None, float | None]]:
        """Of every view the event time (UTC, without zone) of its oldest row and its age in hours; None: no rows."""
        events = np.fmin.reduce(np.array(list(self.events.values()), dtype="datetime64[us]"), axis=1)
        hours = np.fmax.reduce(np.array(list(self.ages_hours.values())), axis=1)
        return [
            (view, event, None if event is None else age)
            for view, event, age in zip(self.events, events.tolist(), hours.tolist(), strict=True)
        ]

    def take(self, rows: NDArray[np.intp]) -> "OnlineRows":
        """The rows at these positions, as often and in the order named; `missing` stays that of the whole read."""
        return OnlineRows(
            cells=self.cells[rows],
            unknown=tuple(self.unknown[row] for row in rows),
            flags=tuple(self.flags[row] for row in rows),
            degraded=self.degraded[rows],
            unusable={view: replaced[rows] for view, replaced in self.unusable.items()},
            events={view: events[rows] for view, events in self.events.items()},
            ages_hours={view: ages[rows] for view, ages in self.ages_hours.items()},
            missing=self.missing,
        )


def read_rows(
    reader: FeatureReader,
    entities: Sequence[Entity],
    *,
    business_time: datetime,
    defaults: Mapping[str, float],
) -> OnlineRows:
    """Read n entities and judge every view of every row by its age at business time.

    Older than the soft age: flag `stale:<view>`. Absent, older than the hard age or later than business time:
    the view's features count as missing, are filled from `defaults` and flagged, and the row is degraded. A
    single missing value of a usable view stays NaN, flag `gaps:<view>`; scoring fills it as training does. A row
    whose outlet, ppg or pair no view knows is unknown, with the reason. Raises StoreUnavailableError.
    """
    online = reader.read(entities)
    now = np.datetime64(business_time.astimezone(UTC).replace(tzinfo=None), "us")
    cells = np.array([online.values[name] for name in BATCH_FEATURES], dtype=np.float64).T
    events = {view.name: online.event_timestamps[view.name] for view in VIEWS}
    times = np.array(list(events.values()), dtype="datetime64[us]")
    seconds = np.where(np.isnat(times), np.nan, (now - times).astype(np.float64) / 1e6)
    flags: list[list[str]] = [[] for _ in entities]
    unusable = np.zeros(seconds.shape, dtype=bool)
    if not ((seconds >= 0) & (seconds <= _SOFT_AGES)).all():
        unusable = np.array([_flag(view, age, flags) for view, age in zip(VIEWS, seconds, strict=True)])
    missing = dict.fromkeys(events, 0)
    absent = ~np.isfinite(cells)
    if absent.any() or unusable.any():
        cells[absent] = np.nan
        for view, useless in zip(VIEWS, unusable, strict=True):
            own = cells[:, _OF_VIEW[view.name]]  # a part of `cells`, not a copy
            own[useless] = np.nan
            gaps = np.isnan(own).sum(axis=1)
            own[useless] = [defaults.get(feature.name, np.nan) for feature in view.features]
            missing[view.name] = int(gaps.sum())
            for row in np.flatnonzero((gaps > 0) & ~useless):
                flags[row].append(f"gaps:{view.name}")
    return OnlineRows(
        cells=cells,
        unknown=tuple(_unknown(events, entities)),
        flags=tuple(tuple(row) for row in flags),
        degraded=np.asarray(unusable.any(axis=0)),
        unusable=dict(zip(events, unusable, strict=True)),
        events=events,
        ages_hours=dict(zip(events, seconds / 3600.0, strict=True)),
        missing=missing,
    )


def rows_without_store(entities: Sequence[Entity], *, defaults: Mapping[str, float]) -> OnlineRows:
    """What is left when the store cannot be read: defaults in every place, all flagged `unavailable:<view>`.

    Whether an entity is known cannot be told, so none counts as unknown.
    """
    count = len(entities)
    nowhere = np.full(count, np.datetime64("NaT", "us"))
    return OnlineRows(
        cells=np.tile([defaults.get(name, np.nan) for name in BATCH_FEATURES], (count, 1)),
        unknown=(None,) * count,
        flags=(tuple(f"{UNAVAILABLE}:{view.name}" for view in VIEWS),) * count,
        degraded=np.ones(count, dtype=bool),
        unusable={view.name: np.ones(count, dtype=bool) for view in VIEWS},
        events={view.name: nowhere for view in VIEWS},
        ages_hours={view.name: np.full(count, np.nan) for view in VIEWS},
        missing={view.name: count * len(view.features) for view in VIEWS},
    )


def model_inputs(
    cells: Floats, plans: Sequence[Activation], *, week_start_day: int, chosen: Places | None = None
) -> Floats:
    """Rows of `MODEL_FEATURES`: the batch features of n rows beside those of one planned activation each.

    `chosen` says which of the plans each row has; without it rows and plans are parallel. `week_start_day` is the first
    local day of the planned week in days since 1970-01-01.
    """
    display, mailer = (np.array([getattr(p, name) for p in plans], dtype=np.float64) for name in ("display", "mailer"))
    planned = planned_columns(
        {
            "planned_display": display if chosen is None else display[chosen],
            "planned_mailer": mailer if chosen is None else mailer[chosen],
            "planned_price": planned_price(cells, plans, chosen=chosen),
            "planned_week_start_day": np.array([week_start_day]),  # one week for all
            **{name: cells[:, _COLUMN[name]] for name in ON_DEMAND_INPUTS},
        }
    )
    inputs = np.empty((len(cells), len(MODEL_FEATURES)))
    inputs[:, : len(BATCH_FEATURES)] = cells
    for feature in ON_DEMAND:
        inputs[:, _COLUMN[feature.name]] = planned[feature.name]
    return inputs


def planned_price(cells: Floats, plans: Sequence[Activation], *, chosen: Places | None = None) -> Floats:
    """Price per unit in USD of n rows under their plans, as above; NaN where the base price is not known."""
    kept = 1.0 - np.array([plan.price_cut for plan in plans])
    price: Floats = cells[:, _COLUMN[BASE_PRICE]] * (kept if chosen is None else kept[chosen])
    return price


def coming_week_start_day(business_time: datetime) -> int:
    """First local day of the week that is decided at business time, in days since 1970-01-01."""
    return day_number(decided_week(business_time))


def _flag(view: View, age: Floats, flags: list[list[str]]) -> Mask:
    """Add the view's flags to every row; True where its features may not be used."""
    absent, ahead = np.isnan(age), age < 0
    expired = age > view.ttl.total_seconds()
    stale = ~expired & (age > view.soft_age.total_seconds())
    for name, rows in (("missing", absent), ("future", ahead), ("expired", expired), ("stale", stale)):
        for row in np.flatnonzero(rows):
            flags[row].append(f"{name}:{view.name}")
    return np.asarray(absent | ahead | expired)


def _unknown(events: Mapping[str, NDArray[np.datetime64]], entities: Sequence[Entity]) -> list[str | None]:
    present = {view.name: ~np.isnat(events[view.name]) for view in VIEWS}

    def known_by(*keys: str) -> Mask:
        views = [present[v.name] for v in VIEWS if set(keys) <= set(v.entities)]
        return np.asarray(np.logical_or.reduce(views))

    pair = known_by("outlet_id", "ppg_id")
    if pair.all():
        return [None] * len(entities)
    outlet, ppg = known_by("outlet_id"), known_by("ppg_id")
    reasons: list[str | None] = []
    for row, entity in enumerate(entities):
        names = f"outlet {entity['outlet_id']!r}", f"ppg {entity['ppg_id']!r}"
        if not outlet[row] and not ppg[row]:
            reasons.append(f"neither {names[0]} nor {names[1]} is in the feature store")
        elif not outlet[row]:
            reasons.append(f"{names[0]} is not in the feature store")
        elif not ppg[row]:
            reasons.append(f"{names[1]} is not in the feature store")
        else:
            reasons.append(None if pair[row] else f"{names[0]} has no history of {names[1]}")
    return reasons
