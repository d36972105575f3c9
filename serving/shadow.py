"""The shadow: the release that did not answer says what it would have, off the path of any request."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Generic

import structlog

from serving.challenger import CurrentChallenger
from serving.decide import Context, UnknownEntityError
from serving.decision_log import DecisionLog
from serving.metrics import Metrics
from serving.online import OnlineRows, StoreUnavailableError
from serving.side_by_side import Decided, KeptRead, R, checked, failure
from serving.stages import Stage

Json = dict[str, Any]
KIND = "shadow"
CAPACITY_ROWS = 20_000  # rows of online features that may wait; some 10 MB
JOIN_SECONDS = 5.0

log = structlog.get_logger()


Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Again(Generic[R]):
    """How the other release answers a question: what it decides, and its rows in the order of those served."""

    how: Callable[[Context], R]
    rows: Callable[[Context, R], list[Json | None]]


@dataclass(frozen=True)
class Question(Generic[R]):
    """What was answered (`served`, its decision rows), which release is asked too, and how many entities were read."""

    context: Context
    served: Rows
    served_milliseconds: float
    again: Again[R]
    entities: int


class Unmeasured:
    """The measures of what nobody asked: none, so that those of requests stay theirs."""

    def stage(self, stage: Stage) -> AbstractContextManager[None]:  # noqa: ARG002
        """Not timed."""
        return nullcontext()

    def read(self, rows: OnlineRows) -> None:
        """Not recorded: it is the read of the request."""

    def store_failed(self) -> None:
        """Not counted: it is the failure of the request."""


class Shadow:
    """Answers questions again in a thread of its own; while too many wait, further ones are dropped and counted.

    A challenger that fails here is stopped as one that fails a request is.
    """

    def __init__(
        self,
        decisions: DecisionLog,
        *,
        metrics: Metrics,
        beside: CurrentChallenger,
        capacity: int = CAPACITY_ROWS,
    ) -> None:
        self._decisions = decisions
        self._metrics = metrics
        self._challenger = beside
        self._capacity = capacity
        self._waiting = 0
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Question[Any] | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Start the thread and the log of its rows."""
        self._decisions.start()
        self._worker.start()

    def ask(self, question: Question[Any]) -> bool:
        """Queue a question; False when too many wait and it was dropped (and counted). Never blocks."""
        with self._lock:
            fits = self._waiting + question.entities <= self._capacity
            self._waiting += question.entities if fits else 0
        if fits:
            self._queue.put(question)
        else:
            self._metrics.shadow_dropped.inc(len(question.served))
        return fits

    def close(self) -> None:
        """Answer what waits, as far as a few seconds go, then write it out."""
        self._queue.put(None)
        self._worker.join(JOIN_SECONDS)
        self._decisions.close()

    def _run(self) -> None:
        while (question := self._queue.get()) is not None:
            try:
                self._answer(question)
            finally:
                with self._lock:
                    self._waiting -= question.entities

    def _answer(self, question: Question[Any]) -> None:
        release_id = question.context.release.id
        try:
            context = replace(question.context, metrics=Unmeasured())
            result, milliseconds = checked(question.again.how, context)
            said = question.again.rows(context, result)
        except (StoreUnavailableError, UnknownEntityError):
            self._metrics.shadow_dropped.inc(len(question.served))
        except Exception as error:  # noqa: BLE001 - whatever it fails with, nobody waits for it
            self._metrics.shadow_errors.inc()
            log.error("shadow_failed", release=release_id, cause=failure(error))  # noqa: TRY400 - the cause says it all
            running = self._challenger.get()
            if running is not None and running.release.id == release_id:  # it may as well be the champion
                self._challenger.stop(release_id, f"{failure(error)} (in the shadow)")
        else:
            times = {"milliseconds": milliseconds, "served_milliseconds": question.served_milliseconds}
            pairs = zip(question.served, said, strict=True)
            rows = [{**row, "kind": KIND, "shadow_of": of["decision_id"], **times} for of, row in pairs if row]
            self._metrics.shadow_rows.inc(len(rows))
            self._decisions.append(rows)


def question(decided: Decided[R], served: Rows, again: Again[R]) -> Question[R] | None:
    """The question to the release beside the one that decided; None where there is none."""
    if decided.beside is None:
        return None
    reader = decided.beside.reader
    entities = reader.entities if isinstance(reader, KeptRead) else len(served)
    return Question(decided.beside, served, decided.milliseconds, again, entities)
