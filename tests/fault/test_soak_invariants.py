"""Every invariant of the soak holds for what is right, and breaks for the one thing it is there to see."""

import importlib
import random
from dataclasses import replace

import pytest

from poplift.settings import REPOSITORY


@pytest.fixture(scope="module")
def rules():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "benchmarks"))
        yield importlib.import_module("soak_invariants")


@pytest.fixture
def sound(rules):
    """Two minutes in which everything is as it must be."""
    answers = [
        rules.Answer(t, t + 0.02, "recommendations", rules.RIGHT, release="b" if t > 60 else "a", decisions=(f"d{t}",))
        for t in range(120)
    ]
    frozen = rules.Fault("Redis frozen", 20.0, 23.0, frozenset({rules.DEGRADED}))
    answers[21] = replace(answers[21], outcome=rules.DEGRADED)
    answers[27] = replace(answers[27], outcome=rules.DEGRADED)
    killed = rules.Fault("worker killed", 90.0, 90.0, frozenset({rules.BROKEN}))
    answers.append(rules.Answer(89.9, 90.2, "demand", rules.BROKEN))
    memory = {1: [(float(t), 90.0 + t % 3) for t in range(200)]}
    logged = {f"d{t}" for t in range(120)} - {"d89"}
    answers[89] = replace(answers[89], began=89.1, ended=89.3)
    return rules.Observed(answers, [frozen, killed], [(0.0, "a"), (61.0, "b")], [90.0], logged, memory)


def broken(rules, seen):
    return [verdict.invariant for verdict in rules.judge(seen) if not verdict.held]


def changed(seen, place, **fields):
    answers = list(seen.answers)
    answers[place] = replace(answers[place], **fields)
    return replace(seen, answers=answers)


def test_a_sound_soak_breaks_no_invariant(rules, sound):
    assert broken(rules, sound) == []
    assert len(rules.judge(sound)) == 6


def test_a_wrong_answer_is_seen_with_its_place(rules, sound):
    seen = changed(sound, 50, wrong="answer.rows[0].units is 1, not 2")
    (verdict,) = [v for v in rules.judge(seen) if not v.held]
    assert verdict.broken == ("recommendations at 50.0 s: answer.rows[0].units is 1, not 2",)


@pytest.mark.parametrize(
    ("place", "outcome"),
    [(10, "degraded"), (29, "degraded"), (21, "broken"), (22, "refused"), (96, "broken"), (50, "other")],
    ids=["before the fault", "after its recovery", "of another kind", "a refusal", "after a kill", "no fault at all"],
)
def test_what_no_fault_explains_is_seen(rules, sound, place, outcome):
    (invariant,) = broken(rules, changed(sound, place, outcome=outcome))
    assert invariant.startswith("nothing unexplained")


def test_a_release_that_answers_too_long_or_too_early_is_seen(rules, sound):
    assert broken(rules, changed(sound, 65, release="a")) == []
    for place, release in ((67, "a"), (59, "b"), (100, "c")):
        assert broken(rules, changed(sound, place, release=release)) == ["the active release answers within 5 s"]


def test_a_decision_lost_without_a_kill_is_seen(rules, sound):
    for lost in ("d10", "d88", "d91"):
        (invariant,) = broken(rules, replace(sound, logged=set(sound.logged) - {lost}))
        assert invariant.startswith("no lost decision")


def test_an_answer_beyond_every_deadline_is_seen(rules, sound):
    (invariant,) = broken(rules, changed(sound, 30, ended=36.0))
    assert invariant.startswith("no answer takes longer")


def test_memory_that_grows_is_seen_and_that_of_several_larger_processes_is_not(rules, sound):
    noise = random.Random(1).random
    leaking = {1: [(float(t), 90.0 + t / 30 + noise()) for t in range(200)]}
    (invariant,) = broken(rules, replace(sound, memory=leaking))
    assert invariant.startswith("memory grows")
    middle, low, high = rules.growth(leaking)
    assert low < 2.0 < high
    assert abs(middle - 2.0) < 0.3
    replaced = {n: [(150.0 * n + t, 90.0 + 20 * n + noise()) for t in range(150)] for n in range(4)}
    assert broken(rules, replace(sound, memory=replaced)) == []


def test_memory_that_a_process_takes_to_warm_up_is_not_growth(rules, sound):
    warming = {1: [(float(t), 90.0 + min(t, 50) / 2 + t % 3) for t in range(200)]}
    assert broken(rules, replace(sound, memory=warming)) == []


def test_memory_of_a_short_run_is_called_too_short_to_tell(rules, sound):
    verdicts = rules.judge(replace(sound, memory={1: [(0.0, 90.0), (1.0, 91.0)]}))
    assert [v.figure for v in verdicts if "memory" in v.invariant] == ["too short to tell"]
