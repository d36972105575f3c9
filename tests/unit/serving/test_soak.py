"""The clients of the soak, against the real application, see an answer that changed and a decision that is missing."""

import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI

from poplift.settings import Settings
from tests.unit.serving.conftest import OUTLETS, PPGS, serve

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
Asking = Callable[[Callable[[], object]], Any]


@pytest.fixture(scope="module")
def soak() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("soak_load"), importlib.import_module("soak_invariants")


@pytest.fixture
def ask(soak: tuple[ModuleType, ModuleType], app: FastAPI, settings: Settings, active: Any, store: Any) -> Asking:
    """Asks for a second, does something, asks for another one, and gives what was seen."""
    load, rules = soak

    def run(between: Callable[[], object]) -> Any:
        asked = load.questions(OUTLETS, PPGS, seed=1)
        right = load.references(settings, [active.id], asked, reader=store)
        with serve(app) as client:
            clients = load.Load(client.base_url.port, asked, right, now=time.monotonic, seed=1, clients=2)
            clients.start()
            time.sleep(1)
            between()
            time.sleep(1)
            clients.stop()
        files = settings.decisions_dir.glob("*.jsonl")
        logged = {json.loads(line)["decision_id"] for file in files for line in file.read_text().splitlines()}
        return rules.Observed(clients.answers, [], [(0.0, active.id)], [], logged)

    return run


def broken(soak: tuple[ModuleType, ModuleType], seen: Any) -> list[str]:
    return [verdict.invariant for verdict in soak[1].judge(seen) if not verdict.held]


def test_a_sound_application_breaks_nothing_and_a_decision_that_is_not_logged_is_missed(
    soak: tuple[ModuleType, ModuleType], ask: Asking
) -> None:
    seen = ask(lambda: None)
    assert broken(soak, seen) == []
    assert len(seen.answers) > 20
    assert {answer.outcome for answer in seen.answers} == {"right"}
    seen.logged.pop()
    assert broken(soak, seen) == ["no lost decision but of a killed worker's last second"]


def test_a_store_that_quietly_holds_other_values_is_seen_in_the_answers(
    soak: tuple[ModuleType, ModuleType], ask: Asking, store: Any
) -> None:
    def corrupt() -> None:
        for row in store.rows.values():
            row.update(dict.fromkeys(row, 3.0))

    seen = ask(corrupt)
    assert broken(soak, seen) == ["no wrong answer"]
    assert any("recommendations[0]" in answer.wrong for answer in seen.answers)


def test_a_store_that_fails_is_seen_as_degraded_answers_that_nothing_explains(
    soak: tuple[ModuleType, ModuleType], ask: Asking, store: Any
) -> None:
    seen = ask(lambda: setattr(store, "failure", ConnectionError("gone")))
    (invariant,) = broken(soak, seen)
    assert invariant.startswith("nothing unexplained")
    assert {answer.outcome for answer in seen.answers} == {"right", "degraded"}
