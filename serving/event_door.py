"""Where POS lines enter: onto the stream where there is one, else straight into the open week, request by request."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from poplift.databases import LockError, exclusive
from poplift.feature_store import FeatureStoreError
from poplift.pseudonym import pseudonym
from poplift.settings import Settings
from poplift.stream import StreamError

if TYPE_CHECKING:
    from feature_repo.running import RunningWeek, RunningWriter
    from poplift.arrivals import Arrival, Refusal
    from poplift.stream import EventStream

RUNNING_WEEK = "running-week"


class NotTakenError(Exception):
    """Lines could not be taken, and why; they may be sent again, what was taken counts once."""


@dataclass(frozen=True)
class Received:
    """What became of the lines of one request; the last two are None where the stream's consumer will tell."""

    accepted: int
    duplicates: int | None
    refused: "tuple[Refusal, ...] | None"


class EventDoor:
    """Takes lines of the POS contract without created_at; opens what it needs at the first request."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stream: EventStream | None = None
        self._online: RunningWriter | None = None
        self._week: RunningWeek | None = None

    def receive(self, lines: Sequence[Mapping[str, Any]]) -> Received:
        """Take lines; `shopper_id` is a household or loyalty id, which goes no further than here.

        When this returns, the lines are on the stream, or in the lake and online. Raises NotTakenError.
        """
        payloads = [self._payload(line) for line in lines]
        if self._settings.redis_url is None:
            try:
                with self._lock, exclusive(self._settings, RUNNING_WEEK):
                    return self._apply(payloads)
            except LockError as error:
                raise NotTakenError(str(error)) from error
        try:
            self._stream_of(self._settings.redis_url).append(payloads)
        except StreamError as error:
            raise NotTakenError(str(error)) from error
        return Received(len(payloads), None, None)

    def _payload(self, line: Mapping[str, Any]) -> bytes:
        shopper = line.get("shopper_id")
        known = shopper and pseudonym(shopper, key=self._settings.shopper_key.get_secret_value())
        return json.dumps({**line, "shopper_id": known}, default=datetime.isoformat).encode()

    def _stream_of(self, url: str) -> "EventStream":
        with self._lock:
            if self._stream is None:
                from poplift.stream import RedisStream

                self._stream = RedisStream(url, name=self._settings.database_prefix)
            return self._stream

    def _apply(self, payloads: Sequence[bytes]) -> Received:
        # Who takes lines off a stream has the lake and Ibis loaded, this process only where there is no stream.
        from poplift.arrivals import Arrival
        from poplift.lake import LakeError

        try:
            return self._taken(payloads, Arrival)
        except (LakeError, FeatureStoreError) as error:
            raise NotTakenError(str(error)) from error

    def _taken(self, payloads: Sequence[bytes], arrival: "type[Arrival]") -> Received:
        as_of = self._settings.now()
        online, week = self._opened(as_of)
        try:
            # Lines of one request follow each other where time runs; where it stands still, nothing may be later.
            step = timedelta(microseconds=self._settings.business_clock == "wall")
            arrivals = [arrival(str(n), as_of + n * step, payload) for n, payload in enumerate(payloads)]
            taken, rows = week.take(arrivals, as_of=as_of)
            week.arrivals.land()
            online.write(rows)
        except BaseException:
            self._week = None  # loaded anew, and written online as a whole, by the next request
            raise
        return Received(taken.accepted, taken.duplicates, taken.refused)

    def _opened(self, as_of: datetime) -> "tuple[RunningWriter, RunningWeek]":
        """The open week as the lake has it: another process may have taken the lines before these."""
        from feature_repo.running import RunningWeek, RunningWriter
        from poplift.lake import Lake

        if self._online is None:
            self._online = RunningWriter(self._settings)
        if self._week is None:
            week = RunningWeek(Lake(self._settings.lake_dir, threads=1), as_of=as_of)
            self._online.write(week.rows())
            self._week = week
        elif self._week.arrivals.is_behind():
            self._week.load(as_of=as_of)
            self._online.write(self._week.rows())
        return self._online, self._week
