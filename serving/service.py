"""What the routes share: the current release, the online store, the decision log, the metrics."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from serving.access.guard import Guard
from serving.bounded_reader import BoundedReader
from serving.challenger import CurrentChallenger
from serving.current import CurrentRelease
from serving.decide import Context
from serving.decision_log import DecisionLog
from serving.event_door import EventDoor
from serving.exploration import CurrentLaunches
from serving.metrics import Metrics
from serving.online import FeatureReader, StoreUnavailableError
from serving.planner.effect_files import CurrentEffects
from serving.planner.published import PublishedPlans
from serving.problems import NotReadyError
from serving.remembered_answers import RememberedAnswers
from serving.rollback import RolledBack
from serving.shadow import Again, Shadow, question
from serving.side_by_side import Decided, R, decide

if TYPE_CHECKING:
    from serving.executions_door import ExecutionsDoor

Answer = TypeVar("Answer")


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
    guard: Guard
    current: CurrentRelease
    challenger: CurrentChallenger
    shadow: Shadow
    unbounded_reader: FeatureReader
    reader: BoundedReader
    decisions: DecisionLog
    events: EventDoor
    answers: RememberedAnswers
    plans: PublishedPlans
    executions: "Callable[[], ExecutionsDoor]"
    launches: CurrentLaunches
    effects: CurrentEffects
    roll_back: Callable[..., RolledBack]
    threads: ThreadPoolExecutor  # as many as requests are let in: waiting for one would come on top of every deadline
    has_been_ready: Event = field(default_factory=Event)

    @property
    def business_time(self) -> datetime:
        """Business time at this moment."""
        return self.now()

    async def work(self, answer: Callable[[], Answer]) -> Answer:
        """What `answer` returns, made in a thread; FastAPI's own way there takes as long as reading a row."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, copy_context().run, answer)

    def context(self) -> Context:
        """What one request works with; raises NotReadyError when no release was ever loaded."""
        release = self.current.get()
        if release is None:
            raise NotReadyError(f"No release is loaded: {self.current.error}")
        return Context(
            release=release,
            reader=self.reader,
            business_time=self.business_time,
            metrics=self.metrics,
            launches=self.launches.get(),
        )

    def decide(
        self, outlets: Collection[str], how: Callable[[Context], R], *, champion: Context | None = None
    ) -> Decided[R]:
        """Let the champion, the present one by default, or the challenger decide: whose canary the outlets are in."""
        return decide(champion or self.context(), self.challenger.get(), outlets, how, stop=self.challenger.stop)

    def record(self, kind: str, rows: Sequence[Mapping[str, Any]], decided: Decided[R], again: Again[R]) -> None:
        """Hand the decision rows of one answer to the log, count them, and ask the other release, if there is one."""
        self.decisions.append(rows)
        for degraded, count in Counter(row["degraded"] for row in rows).items():
            self.metrics.answers.labels(kind, str(degraded).lower()).inc(count)
        beside = question(decided, rows, again)
        if beside is not None:
            self.shadow.ask(beside)

    def follow_release(self) -> None:
        """Look at pointer, challenger and effect table once; what cannot be used leaves the last good one in place."""
        self.current.refresh()
        self.challenger.refresh()
        self.effects.refresh()
        self.metrics.release_current.set(float(self.current.error is None))

    def check_ready(self, *, warm: bool = False) -> Literal["ready", "degraded"]:
        """Raise NotReadyError unless a release is loaded and the store knows the sentinel of its policy.

        A store that stops answering after it was ready leaves the service degraded, not unready: it is the same for
        every process, and a balancer that took them all away would take the degraded answers too. `warm` waits as long
        as the very first read takes: opening the store is slower than any deadline.
        """
        policy = self.context().release.policy
        try:
            events = (self.unbounded_reader if warm else self.reader).read([policy.sentinel]).event_timestamps
        except StoreUnavailableError as error:
            if self.has_been_ready.is_set() and policy.degradation.answers_without_store:
                return "degraded"
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
        self.has_been_ready.set()
        return "ready"
