"""What the three online store classes have in common: one way in for rows, and the age limit on the way out."""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureView, RepoConfig
from feast.infra.online_stores.helpers import compute_versioned_name
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.Value_pb2 import Value
from pydantic import AwareDatetime, BaseModel, Field

from feature_repo.online.batch import OnlineBatch, Rows, rows_of_protos
from feature_repo.online.rules import ALLOWED_SKEW_SECONDS, Micros, micros, newest, usable, wins
from poplift.clock import present
from poplift.write_report import WriteReport

log = logging.getLogger(__name__)
# An entity's row as Feast's stores return it: event time and values by feature, or neither.
Read = tuple[datetime | None, dict[str, Value] | None]
_SECOND = 1_000_000
_MICROSECOND = timedelta(microseconds=1)


class WriteContract(BaseModel):
    """Settings of the contract, part of every store's configuration in feature_store.yaml."""

    business_time: AwareDatetime | Literal["now"] = Field(
        description="What counts as the present for ages and for what lies ahead; 'now' is the wall clock."
    )
    allowed_skew_seconds: float = Field(
        ALLOWED_SKEW_SECONDS, ge=0, description="How far ahead of it an event time may lie."
    )

    def present_us(self) -> int:
        """Business time in microseconds since 1970."""
        return micros(present(self.business_time))

    def latest_us(self) -> int:
        """The last event time that is accepted and served."""
        return self.present_us() + int(self.allowed_skew_seconds * _SECOND)

    def oldest_us(self, ttl: timedelta | None) -> int | None:
        """The first event time that is served under this age limit; None: there is no limit."""
        return self.present_us() - ttl // _MICROSECOND if ttl else None


class ConflictError(Exception):
    """Somebody else wrote one of the entities meanwhile; nothing was written, the batch is to be tried again."""


class Session(Protocol):
    """One atomic step of a store: what is known of some entities, and new rows for some of them."""

    def known(self, keys: Sequence[bytes]) -> tuple[Micros, Micros]:
        """Newest event time stored for each key and the created time that came with it, UNKNOWN where there is none."""

    def put(self, rows: Rows) -> None:
        """Store these rows, whatever is there; raises ConflictError when that would no longer be atomic."""


class GuardedStore(OnlineStore):  # type: ignore[misc]
    """Writes through the rules, reads through the age limit; each store adds how it keeps a batch atomic."""

    batch_rows: int
    writers = 1
    most_attempts = 100

    @abstractmethod
    def session(self, config: RepoConfig, view: FeatureView) -> AbstractContextManager[Session]:
        """Begin an atomic step; it is complete when the context ends without an error."""

    def write(self, config: RepoConfig, view: FeatureView, batch: OnlineBatch) -> WriteReport:
        """Store a batch of `view` under the write contract, in atomic steps of bounded size.

        Raises what the store's client raises; the steps before the failed one stay written, and writing the batch
        again completes it.
        """
        rows, refused = batch.admitted(latest_us=config.online_store.latest_us())
        return self._write(config, view, rows, refused)

    def write_each(
        self, config: RepoConfig, view: FeatureView, batches: Iterable[OnlineBatch]
    ) -> Iterator[WriteReport]:
        """The same for one batch after the other; while one is written the next is encoded."""
        latest_us = config.online_store.latest_us()
        with ThreadPoolExecutor(1) as writer:
            writing: Future[WriteReport] | None = None
            for batch in batches:
                rows, refused = batch.admitted(latest_us=latest_us)
                if writing is not None:
                    yield writing.result()
                writing = writer.submit(self._write, config, view, rows, refused)
            if writing is not None:
                yield writing.result()

    def write_table(self, config: RepoConfig, view: FeatureView, table: pa.Table | pd.DataFrame) -> WriteReport:
        """The same for a table with the columns of the view's source; NaN of pandas is null. Raises BatchError too."""
        arrow = pa.Table.from_pandas(table, preserve_index=False) if isinstance(table, pd.DataFrame) else table
        return self.write(config, view, OnlineBatch.of_table(view, arrow))

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Any], progress: Callable[[int], Any] | None
    ) -> None:
        """Feast's way in: the same rules, refused rows are logged."""
        rows, refused = rows_of_protos(
            data, version=config.entity_key_serialization_version, latest_us=config.online_store.latest_us()
        )
        self._write(config, table, rows, refused)
        if progress:
            progress(len(data))

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Any], progress: Callable[[int], Any] | None
    ) -> None:
        """The same for Feast's server, in a thread: there is one guard, not two."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[Any],
        requested_features: list[str] | None = None,
    ) -> list[Read]:
        """Values by entity under the age limit; see `served` for what is out of it."""
        rows = super().online_read(config, table, entity_keys, requested_features or _every(table))
        return served(rows, contract=config.online_store, ttl=table.ttl)

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[Any],
        requested_features: list[str] | None = None,
    ) -> list[Read]:
        """The same without blocking the event loop."""
        rows = await super().online_read_async(config, table, entity_keys, requested_features or _every(table))
        return served(rows, contract=config.online_store, ttl=table.ttl)

    def _write(self, config: RepoConfig, view: FeatureView, rows: Rows, refused: Mapping[str, int]) -> WriteReport:
        if refused:
            reasons = ", ".join(f"{count} {reason}" for reason, count in refused.items())
            log.warning("view %s: rows refused by the online store: %s", view.name, reasons)
        positions = newest(rows.keys, rows.event, rows.created)
        unique = rows if positions is None else rows.take(positions)
        report = WriteReport(older=len(rows) - len(unique), refused=refused)
        steps = list(unique.chunks(self.batch_rows))
        write = partial(self._write_steps, config, view)
        if len(steps) <= 1 or self.writers == 1:
            return report + write(steps)
        # A share for every writer: to hand over step by step takes as long as to put one into words.
        with ThreadPoolExecutor(self.writers) as pool:
            return sum(pool.map(write, (steps[at :: self.writers] for at in range(self.writers))), start=report)

    def _write_steps(self, config: RepoConfig, view: FeatureView, steps: Iterable[Rows]) -> WriteReport:
        return sum((self._write_atomically(config, view, rows) for rows in steps), start=WriteReport())

    def _write_atomically(self, config: RepoConfig, view: FeatureView, rows: Rows) -> WriteReport:
        for _ in range(self.most_attempts):
            try:
                with self.session(config, view) as session:
                    winners = wins(rows.event, rows.created, *session.known(rows.keys))
                    session.put(rows if winners.all() else rows.take(np.flatnonzero(winners)))
                written = int(winners.sum())
                return WriteReport(written, len(rows) - written)
            except ConflictError:
                continue
        raise ConflictError(
            f"view {view.name}: other writers changed the same entities {self.most_attempts} times in a row; "
            "write smaller batches or from fewer places"
        )


def stored_name(config: RepoConfig, view: FeatureView) -> str:
    """Name under which the online store keeps a view: its own, with a version suffix where Feast versions views."""
    return str(compute_versioned_name(view, config.registry.enable_online_feature_view_versioning))


def _every(view: FeatureView) -> list[str]:
    # Feast's query of Postgres cannot do without the names.
    return [feature.name for feature in view.features]


def served(rows: Sequence[Read], *, contract: WriteContract, ttl: timedelta | None) -> list[Read]:
    """Rows as they may be served: an unknown entity is (None, None); one out of the age limit keeps its event time
    and has null for every value, which Feast's `online_read` cannot tell from a stored null (statuses can).
    """
    known = [(time, values) for time, values in rows if time is not None and values]
    event = np.array([micros(time) for time, _ in known], dtype=np.int64)
    fresh = iter(usable(event, oldest_us=contract.oldest_us(ttl), latest_us=contract.latest_us()).tolist())
    return [_served(time, values, fresh) if time is not None and values else (None, None) for time, values in rows]


def _served(time: datetime, values: dict[str, Value], fresh: Any) -> Read:
    return time, values if next(fresh) else {name: Value() for name in values}
