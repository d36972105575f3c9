"""A training is worth it by evidence, and held back by cooldown and budget without losing the evidence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.retrain import KINDS, Evidence, RetrainPolicy, Window, decide

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = RetrainPolicy()
QUIET = Evidence(trained_rows=100_000, new_rows=0)
ENOUGH = replace(QUIET, new_rows=5_000)


def weeks(*broken):
    return tuple(Window(f"2018-01-{7 * n + 1:02}", frozenset(kinds)) for n, kinds in enumerate(broken))


evidences = st.builds(
    Evidence,
    trained_rows=st.sampled_from([0, 1, 1_000, 100_000]),
    new_rows=st.integers(0, 200_000),
    windows=st.lists(st.sets(st.sampled_from(KINDS)), max_size=5).map(lambda broken: weeks(*broken)),
    started=st.lists(st.integers(0, 60), max_size=6).map(lambda ago: tuple(NOW - d * DAY for d in ago)),
    finished=st.lists(st.integers(0, 60), max_size=6).map(lambda ago: tuple(NOW - d * DAY for d in ago)),
)


def test_the_first_training_needs_no_evidence():
    decision = decide(Evidence(trained_rows=0, new_rows=0), now=NOW)
    assert (decision.is_due, decision.reasons) == (True, ("there is no model yet",))


@pytest.mark.parametrize(("new_rows", "is_due"), [(0, False), (4_999, False), (5_000, True)])
def test_enough_new_labelled_rows_are_a_ground(new_rows, is_due):
    assert decide(replace(QUIET, new_rows=new_rows), now=NOW).is_due is is_due


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("run", "is_due"), [((1,), False), ((1, 1), True), ((1, 0), False), ((1, 0, 1), False), ((0, 1, 1), True)]
)
def test_the_same_kind_must_be_broken_in_two_weeks_running(kind, run, is_due):
    windows = weeks(*({kind} if broken else set() for broken in run))
    decision = decide(replace(QUIET, windows=windows), now=NOW)
    assert decision.is_due is is_due
    assert any(kind in reason for reason in decision.reasons)


def test_two_kinds_that_were_broken_in_one_week_each_are_no_ground():
    assert not decide(replace(QUIET, windows=weeks({"drift"}, {"quality"})), now=NOW).is_due


def test_a_skip_says_how_much_evidence_there_is_and_how_much_is_needed():
    (said,) = decide(replace(QUIET, new_rows=3_000, windows=weeks({"drift"})), now=NOW).reasons
    assert said == (
        "not enough evidence: 3,000 new labelled rows are 3.0% of the 100,000 trained on, 5% are needed; "
        "of 2 weeks running that something must be broken, quality in 0, drift in 1, performance in 0"
    )


def test_a_cooldown_holds_back_and_says_until_when():
    decision = decide(replace(ENOUGH, finished=(NOW - 6 * DAY,)), now=NOW)
    assert not decision.is_due
    assert decision.held_by == (
        "cooldown: the last training ended 2026-02-24 12:00 UTC, the next may start 2026-03-03 12:00",
    )
    assert decide(replace(ENOUGH, finished=(NOW - 7 * DAY,)), now=NOW).is_due


def test_a_budget_holds_back_and_says_when_the_next_is_free():
    started = tuple(NOW - n * DAY for n in (29, 20, 10, 8, 40))
    decision = decide(replace(ENOUGH, started=started), now=NOW)
    assert decision.held_by == ("budget: 4 trainings in 30 days, 4 are allowed; the next is free 2026-03-03 12:00 UTC",)
    assert decide(replace(ENOUGH, started=started), now=NOW + DAY).is_due


def test_a_training_that_died_counts_for_the_budget_and_lets_a_retry_go_on():
    assert decide(replace(ENOUGH, started=(NOW - DAY / 24,)), now=NOW).is_due
    assert not decide(replace(ENOUGH, started=(NOW - DAY / 24,) * 4), now=NOW).is_due


@given(evidence=evidences)
def test_nothing_is_ever_decided_without_a_reason(evidence):
    decision = decide(evidence, now=NOW)
    assert decision.reasons
    assert decision.is_due == (bool(decision.grounds) and not decision.held_by)


@given(evidence=evidences)
def test_evidence_that_was_held_back_is_still_there_when_nothing_holds_it(evidence):
    decision = decide(evidence, now=NOW)
    later = decide(evidence, now=NOW + POLICY.budget_period + POLICY.cooldown)
    assert later.grounds == decision.grounds
    assert later.is_due == bool(decision.grounds)


@given(evidence=evidences, more=st.integers(0, 100_000))
def test_more_labels_never_take_a_training_away(evidence, more):
    richer = replace(evidence, new_rows=evidence.new_rows + more)
    assert decide(richer, now=NOW).is_due >= decide(evidence, now=NOW).is_due


@given(evidence=evidences)
def test_there_are_never_more_trainings_in_a_period_than_the_budget(evidence):
    moment, started = NOW, evidence.started
    for _ in range(40):
        now = replace(evidence, started=started)
        if decide(now, now=moment).is_due:
            started = (*started, moment)
        moment += DAY
    fresh = sorted(s for s in started if s >= NOW)
    for first in fresh:
        assert sum(first <= s < first + POLICY.budget_period for s in fresh) <= POLICY.budget
