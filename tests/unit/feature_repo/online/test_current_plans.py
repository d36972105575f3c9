"""Plans follow the registry beside the requests, and outlive it when it is down."""

import gc
import logging
import threading
import weakref

import pytest

from feature_repo.online.current_plans import CurrentPlans
from feature_repo.online.plan import PlanError, ReadPlan


class Registry:
    """Counts what is asked of it; may be down, or know no plan."""

    def __init__(self):
        self.version = 0
        self.reloads = 0
        self.compiled = 0
        self.down = False
        self.refuses = False
        self.reloaded = threading.Event()

    def reload(self):
        self.reloads += 1
        if self.down:
            raise ConnectionError("registry is down")
        self.version += 1
        self.reloaded.set()

    def compile(self):
        self.compiled += 1
        if self.refuses:
            raise PlanError("computed, not read")
        return ReadPlan(f"version {self.version}", ())

    def plans(self, every=None):
        return CurrentPlans(self.reload, version=lambda: self.version, every=every)


def test_a_plan_is_compiled_once_and_then_only_looked_up():
    registry = Registry()
    plans = registry.plans()
    assert [plans.get("a", registry.compile).project for _ in range(3)] == ["version 0"] * 3
    assert (registry.compiled, registry.reloads) == (1, 0)


def test_a_refresh_compiles_every_plan_anew():
    registry = Registry()
    plans = registry.plans()
    for key in "ab":
        plans.get(key, registry.compile)
    plans.refresh()
    assert {plans.get(key, registry.compile).project for key in "ab"} == {"version 1"}
    assert registry.compiled == 4


def test_while_the_registry_is_down_the_last_plan_stays(caplog):
    registry = Registry()
    plans = registry.plans()
    plans.get("a", registry.compile)
    registry.down = True
    with caplog.at_level(logging.WARNING):
        plans.refresh()
    assert plans.get("a", registry.compile).project == "version 0"
    assert "plans stay as they were: registry is down" in caplog.text


def test_what_no_plan_can_read_is_not_compiled_at_every_request():
    registry = Registry()
    registry.refuses = True
    plans = registry.plans()
    for _ in range(3):
        with pytest.raises(PlanError, match="computed, not read"):
            plans.get("a", registry.compile)
    assert registry.compiled == 1
    registry.refuses = False
    plans.refresh()
    assert plans.get("a", registry.compile).project == "version 1"


def test_an_apply_in_the_same_process_is_seen_at_the_next_use():
    registry = Registry()
    plans = registry.plans()
    plans.get("a", registry.compile)
    registry.version = 7
    assert plans.get("a", registry.compile).project == "version 7"
    assert registry.reloads == 0


def test_a_thread_keeps_plans_current_and_a_request_waits_for_none():
    registry = Registry()
    plans = registry.plans(every=0.01)
    plans.get("a", registry.compile)
    assert registry.reloaded.wait(10)
    plans.refresh()  # behind the thread's: what it compiled is in place
    assert plans.get("a", registry.compile).project != "version 0"
    plans.close()


def test_the_thread_ends_with_the_plans_it_serves():
    before = set(threading.enumerate())
    plans = Registry().plans(every=0.01)
    (thread,) = (t for t in set(threading.enumerate()) - before if t.name == "read-plans")
    gone = weakref.ref(plans)
    del plans
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
    assert gone() is None
