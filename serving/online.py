"""From an outlet and its ppgs to model inputs: online read, ages at business time, planned activations."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as DeadlineError
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.catalog import BATCH_FEATURES, DEMAND_SERVING, VIEWS, View
from feature_repo.transformations.planned_activation import planned_activation
from poplift.market_week import day_number, decided_week
from poplift.settings import Settings
from serving.policy import Activation

BASE_PRICE = "base_price_13w"

Floats = NDArray[np.float64]
Entity = Mapping[str, str]


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
    """The online store behind Feast, opened at the first read because importing Feast takes seconds."""

    def __init__(self, settings: Settings, *, service: str = DEMAND_SERVING) -> None:
        self._settings = settings
        self._service = service
        self._opening = threading.Lock()
        self._store: FeatureReader | None = None

    def read(self, entities: Sequence[Entity]) -> OnlineFeatures:
        """Features of every entity; raises whatever the store raises."""
        with self._opening:
            if self._store is None:
                from poplift.feature_store import OnlineReader

                self._store = OnlineReader(self._settings, service=self._service)
        read = self._store.read(entities)
        unknown = [name for name in BATCH_FEATURES if name not in read.values]  # noqa: PD011 - not a frame
        if unknown:
            raise StoreUnavailableError(f"the registry does not know {', '.join(unknown)}: run `poplift features`")
        return read


class BoundedReader:
    """A reader with a deadline: a store that hangs costs a request at most that long, never the service."""

    def __init__(self, reader: FeatureReader, *, deadline: timedelta, workers: int = 4) -> None:
        self._reader = reader
        self._seconds = deadline.total_seconds()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="online-read")

    def read(self, entities: Sequence[Entity]) -> OnlineFeatures:
        """Read in time or raise StoreUnavailableError."""
        future = self._pool.submit(self._reader.read, entities)
        try:
            return future.result(timeout=self._seconds)
        except DeadlineError as error:
            future.cancel()
            raise StoreUnavailableError(f"no answer within {self._seconds:g} s") from error
        except Exception as error:
            raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Let running reads end by themselves and take no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class OnlineRows:
    """Batch features ready for the model: n rows in the order asked, with what is known of their quality."""

    frame: pd.DataFrame
    unknown: tuple[str | None, ...]
    flags: tuple[tuple[str, ...], ...]
    degraded: NDArray[np.bool_]
    events: Mapping[str, NDArray[np.datetime64]]
    ages_hours: Mapping[str, Floats]
    missing: Mapping[str, int]

    def take(self, rows: NDArray[np.intp]) -> "OnlineRows":
        """The rows at these positions, as often and in the order named; `missing` stays that of the whole read."""
        return OnlineRows(
            frame=self.frame.iloc[rows].reset_index(drop=True),
            unknown=tuple(self.unknown[row] for row in rows),
            flags=tuple(self.flags[row] for row in rows),
            degraded=self.degraded[rows],
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
    columns: dict[str, Floats] = {}
    flags: list[list[str]] = [[] for _ in entities]
    degraded = np.zeros(len(entities), dtype=bool)
    ages: dict[str, Floats] = {}
    missing: dict[str, int] = {}
    for view in VIEWS:
        age = (now - online.event_timestamps[view.name]) / np.timedelta64(1, "s")
        unusable = _flag(view, age, flags)
        degraded |= unusable
        ages[view.name] = age / 3600.0
        gaps = np.zeros(len(entities), dtype=np.int64)
        for feature in view.features:
            values = np.array(online.values[feature.name], dtype=np.float64)  # noqa: PD011 - not a frame
            values[unusable | ~np.isfinite(values)] = np.nan
            gaps += np.isnan(values)
            values[unusable] = defaults.get(feature.name, np.nan)
            columns[feature.name] = values
        missing[view.name] = int(gaps.sum())
        for row in np.flatnonzero((gaps > 0) & ~unusable):
            flags[row].append(f"gaps:{view.name}")
    return OnlineRows(
        frame=pd.DataFrame(columns),
        unknown=tuple(_unknown(online.event_timestamps, entities)),
        flags=tuple(tuple(row) for row in flags),
        degraded=degraded,
        events={view.name: online.event_timestamps[view.name] for view in VIEWS},
        ages_hours=ages,
        missing=missing,
    )


def model_inputs(rows: pd.DataFrame, plans: Sequence[Activation], *, week_start_day: int) -> pd.DataFrame:
    """Add the features of one planned activation a row to its batch features; rows and plans are parallel.

    `week_start_day` is the first local day of the planned week in days since 1970-01-01.
    """
    cut = np.array([plan.price_cut for plan in plans])
    requested = pd.DataFrame(
        {
            "planned_display": np.array([int(plan.display) for plan in plans], dtype=np.int64),
            "planned_mailer": np.array([int(plan.mailer) for plan in plans], dtype=np.int64),
            "planned_price": rows[BASE_PRICE].to_numpy() * (1.0 - cut),
            "planned_week_start_day": np.full(len(plans), week_start_day, dtype=np.int64),
        },
        index=rows.index,
    )
    inputs = pd.concat([rows, requested], axis=1)
    return pd.concat([rows, planned_activation(inputs)], axis=1)


def coming_week_start_day(business_time: datetime) -> int:
    """First local day of the week that is decided at business time, in days since 1970-01-01."""
    return day_number(decided_week(business_time))


def _flag(view: View, age: Floats, flags: list[list[str]]) -> NDArray[np.bool_]:
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

    def known_by(*keys: str) -> NDArray[np.bool_]:
        views = [present[v.name] for v in VIEWS if set(keys) <= set(v.entities)]
        return np.asarray(np.logical_or.reduce(views))

    outlet, ppg, pair = known_by("outlet_id"), known_by("ppg_id"), known_by("outlet_id", "ppg_id")
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
