"""Compiled plans by what they answer, kept current beside the requests, which never wait for that."""

import logging
import random
import weakref
from collections.abc import Callable, Hashable
from threading import Event, Lock, Thread

from feature_repo.online.plan import PlanError, ReadPlan

Compile = Callable[[], ReadPlan]

_log = logging.getLogger(__name__)
# Processes that started together do not ask the registry together.
_JITTER = 0.25


class CurrentPlans:
    """The newest plans; every `every` seconds, more or less, a daemon thread compiles all of them anew.

    `reload` fetches the registry, `version` says cheaply which registry the process has at hand: when somebody
    else changed that, by an apply in this process, plans are compiled at their next use. `every` None: no thread.
    """

    def __init__(self, reload: Callable[[], None], *, version: Callable[[], object], every: float | None) -> None:
        self._reload = reload
        self._version = version
        self._seen = version()
        self._plans: dict[Hashable, tuple[Compile, ReadPlan | PlanError]] = {}
        self._refreshing = Lock()
        self._stopped = Event()
        if every is not None:
            arguments = weakref.ref(self), every, self._stopped
            Thread(target=_keep_current, args=arguments, name="read-plans", daemon=True).start()

    def get(self, key: Hashable, compile_plan: Compile) -> ReadPlan:
        """The plan of `key`, compiled at its first use; raises PlanError where there is none, as it did then."""
        if self._version() != self._seen and self._refreshing.acquire(blocking=False):
            try:
                self._seen = self._version()
                self._plans = {}
            finally:
                self._refreshing.release()
        known = self._plans.get(key)
        if known is None:
            known = compile_plan, _attempt(compile_plan)
            self._plans[key] = known
        if isinstance(known[1], PlanError):
            raise known[1]
        return known[1]

    def refresh(self) -> None:
        """Fetch the registry and compile every plan anew; one that cannot be compiled stays as it was."""
        with self._refreshing:
            try:
                self._reload()
                self._plans = {key: (c, _attempt(c)) for key, (c, _) in list(self._plans.items())}
                self._seen = self._version()
            except Exception as error:  # noqa: BLE001 - whatever a registry raises, requests go on
                _log.warning("the registry cannot be read, plans stay as they were: %s", error)

    def close(self) -> None:
        """End the thread; the plans stay."""
        self._stopped.set()


def _attempt(compile_plan: Compile) -> ReadPlan | PlanError:
    try:
        return compile_plan()
    except PlanError as error:
        return error


def _keep_current(plans: "weakref.ref[CurrentPlans]", every: float, stopped: Event) -> None:
    while not stopped.wait(every * random.uniform(1 - _JITTER, 1 + _JITTER)):  # noqa: S311 - jitter, no secret
        current = plans()
        if current is None:
            return
        current.refresh()
        del current
