"""What the routes share: the current release, the online store, the decision log, the metrics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from serving.current import CurrentRelease
from serving.decide import Context
from serving.decision_log import DecisionLog
from serving.event_door import EventDoor
from serving.metrics import Metrics
from serving.online import BoundedReader, FeatureReader, StoreUnavailableError
from serving.problems import NotReadyError


@dataclass(frozen=True)
class Limits:
    """What a request may cost, and how often the pointer to the release is looked at."""

    body_bytes: int = 1024 * 1024
    in_flight: int = 64
    read_deadline: timedelta = timedelta(seconds=2)
    read_workers: int = 4
    poll: timedelta = timedelta(seconds=2)


@dataclass(frozen=True)
class Service:
    """One running application; made by create_app, closed by its lifespan."""

    now: Callable[[], datetime]
    limits: Limits
    metrics: Metrics
    current: CurrentRelease
    unbounded_reader: FeatureReader
    reader: BoundedReader
    decisions: DecisionLog
    events: EventDoor

    @property
    def business_time(self) -> datetime:
        """Business time at this moment."""
        return self.now()

    def context(self) -> Context:
        """What one request works with; raises NotReadyError when no release was ever loaded."""
        release = self.current.get()
        if release is None:
            raise NotReadyError(f"No release is loaded: {self.current.error}")
        return Context(release=release, reader=self.reader, business_time=self.business_time, metrics=self.metrics)

    def record(self, kind: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Hand the decision rows of one answer to the log and count them."""
        self.decisions.append(rows)
        for row in rows:
            self.metrics.answers.labels(kind, str(row["degraded"]).lower()).inc()

    def follow_release(self) -> None:
        """Look at the pointer once; a release that does not verify leaves the last good one in place."""
        self.current.refresh()
        self.metrics.release_current.set(float(self.current.error is None))

    def check_ready(self, *, warm: bool = False) -> None:
        """Raise NotReadyError unless a release is loaded and the store knows the sentinel of its policy.

        `warm` waits as long as the very first read takes: opening the store is slower than any deadline.
        """
        policy = self.context().release.policy
        sentinel = {"outlet_id": policy.sentinel_outlet, "ppg_id": policy.ppgs[0]}
        try:
            events = (self.unbounded_reader if warm else self.reader).read([sentinel]).event_timestamps
        except StoreUnavailableError as error:
            raise NotReadyError(
                "The online store does not answer.", [{"where": "online_store", "what": "no answer"}]
            ) from error
        if all(np.isnat(times).all() for times in events.values()):
            raise NotReadyError(
                "The online store is empty: materialise the features.",
                [
                    {
                        "where": "online_store",
                        "what": f"does not know the sentinel outlet {policy.sentinel_outlet}",
                    }
                ],
            )
