"""An answer is taken apart once: as long as the store says the same bytes, to the same question, under the same plan."""

from dataclasses import replace

import numpy as np
import pytest

from feature_repo.online.known_answers import Known, KnownAnswers
from feature_repo.online.reader import Asked, EntityError, PlanReader, Stored
from poplift.feature_store import OnlineFeatures
from tests.unit.feature_repo.online.test_reader import DAY, NOW, PLAN, SKEW, WEEK, InMemory, cell, key, rows_of

ASKED = [{"outlet_id": "1", "week": 3}]
MINUTE = 60_000_000


class Saying(InMemory):
    """Says its rows as bytes, and counts how often they had to be taken apart."""

    def __init__(self, rows):
        super().__init__(rows)
        self.taken_apart = 0

    def fetch(self, plan, keys, *, unless=None):
        said = repr([(self.rows.get((view.name, k))) for view in plan.views for group in keys for k in group]).encode()
        if said == unless:
            return None
        self.taken_apart += 1
        return Stored(super().fetch(plan, keys).views, said)


class Moving:
    """A reader over rows, a plan and a present that tests may change."""

    def __init__(self, *, most_bytes=1 << 20, event=NOW):
        self.stored = Saying({("sales", key("1")): rows_of(event), ("trend", key("1")): rows_of(event)})
        self.plan, self.now, self.known = PLAN_OF_OUTLETS, NOW, KnownAnswers(most_bytes=most_bytes)
        self.reader = PlanReader(
            lambda: self.plan, self.stored, present_us=lambda: self.now, skew_us=SKEW, known=self.known
        )

    def rate(self, entities=ASKED):
        got = self.reader.read(entities)
        return got.values["sales_rate"].tolist(), got.statuses["sales_rate"].tolist()


PLAN_OF_OUTLETS = replace(PLAN, views=tuple(view for view in PLAN.views if view.name != "calendar"))


def test_the_same_bytes_are_taken_apart_once_and_mean_the_same():
    moving = Moving()
    answers = [moving.rate() for _ in range(3)]
    assert answers == [([2.5], [1])] * 3
    assert moving.stored.taken_apart == 1


def test_a_changed_value_is_seen_at_once():
    moving = Moving()
    moving.rate()
    moving.stored.rows["sales", key("1")] = rows_of(NOW, rate=7.0)
    assert moving.rate() == ([7.0], [1])
    assert moving.rate() == ([7.0], [1])
    assert moving.stored.taken_apart == 2


def test_another_plan_takes_the_same_bytes_apart_anew():
    moving = Moving()
    moving.rate()
    moving.plan = replace(PLAN_OF_OUTLETS, project="other")
    moving.rate()
    assert moving.stored.taken_apart == 2


@pytest.mark.parametrize(
    ("event", "moved", "status"),
    [(NOW, DAY, 1), (NOW, DAY + 1, 4), (NOW + SKEW, 0, 1), (NOW + SKEW, -1, 4)],
    ids=["at its age limit", "a microsecond past it", "as far ahead as allowed", "a microsecond farther"],
)
def test_what_was_known_to_be_fresh_is_judged_at_every_read(event, moved, status):
    moving = Moving(event=event)
    assert moving.rate() == ([2.5], [1])
    moving.now += moved
    rate, statuses = moving.rate()
    assert statuses == [status]
    assert rate == [2.5] if status == 1 else np.isnan(rate).all()


def test_what_may_not_be_used_is_not_remembered():
    moving = Moving(event=NOW - DAY - MINUTE)
    assert moving.rate()[1] == moving.rate()[1] == [4]
    assert moving.stored.taken_apart == 2


def test_another_order_of_the_same_entities_is_another_question():
    moving = Moving()
    for name in ("sales", "trend"):
        moving.stored.rows[name, key("2")] = rows_of(NOW, rate=9.0)
    two = [*ASKED, {"outlet_id": "2", "week": 3}]
    assert moving.rate(two)[0] == [2.5, 9.0]
    assert moving.rate(two[::-1])[0] == [9.0, 2.5]
    assert moving.rate(two * 2)[0] == [2.5, 9.0] * 2


def test_a_key_of_another_type_is_refused_although_it_equals_a_known_one():
    moving = Moving()
    moving.plan = PLAN
    moving.stored.rows["calendar", WEEK.encode({"week": [1]})[0]] = NOW, [cell(int64_val=3)]
    for _ in range(2):
        moving.rate([{"outlet_id": "1", "week": 1}])
    assert moving.stored.taken_apart == 1
    with pytest.raises(EntityError, match="week is True"):
        moving.rate([{"outlet_id": "1", "week": True}])


def test_what_is_remembered_cannot_be_written_to():
    got = Moving().reader.read(ASKED)
    with pytest.raises(ValueError, match="read-only"):
        got.values["sales_rate"][0] = 1.0


def test_nothing_is_read_from_no_entities():
    assert Moving().rate([]) == ([], [])


def known(rows):
    values = {"rate": np.zeros(rows)}
    return Known(Asked(PLAN, [], []), b"x" * rows, OnlineFeatures(values, {}, {}), (0, 1))


def test_memory_is_bounded_and_what_was_used_least_lately_is_forgotten():
    one = known(10)
    answers = KnownAnswers(most_bytes=3 * one.size)
    for question in "abc":
        answers.put(question, known(10))
    answers.get(PLAN, "a")
    answers.put("d", known(10))
    assert [name for name in "abcd" if answers.get(PLAN, name)] == ["a", "c", "d"]


def test_an_answer_larger_than_all_memory_is_not_kept_and_takes_no_place():
    answers = KnownAnswers(most_bytes=2 * known(10).size)
    answers.put("a", known(10))
    answers.put("b", known(10_000))
    answers.put("a", known(10_000))
    assert answers.get(PLAN, "b") is None
    assert answers.get(PLAN, "a") is None
