"""One request does a thing, the others with its key are told what came of it, in whatever process they arrive."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import remembered_answers
from serving.remembered_answers import KeptAnswer, KeyInUseError, OtherRequestError, RememberedAnswers

ANSWER = KeptAnswer(202, b'{"accepted": 1}')
ME = ("app", "key-1")


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def answers(tmp_path, clock):
    return RememberedAnswers(tmp_path / "home" / "answers.db", now=clock)


def test_the_same_request_gets_the_same_answer_and_another_one_is_refused(answers):
    assert answers.claim(*ME, "a") is None
    answers.keep(*ME, ANSWER)
    assert answers.claim(*ME, "a") == ANSWER
    with pytest.raises(OtherRequestError):
        answers.claim(*ME, "b")
    assert answers.claim("another client", "key-1", "b") is None


def test_a_key_is_in_use_until_its_request_is_answered_given_back_or_dead(answers, clock):
    answers.claim(*ME, "a")
    with pytest.raises(KeyInUseError):
        answers.claim(*ME, "a")
    with pytest.raises(OtherRequestError):
        answers.claim(*ME, "b")
    answers.release(*ME)
    assert answers.claim(*ME, "b") is None
    clock.now += remembered_answers.LEASE_SECONDS + 1
    assert answers.claim(*ME, "b") is None


def test_what_was_answered_cannot_be_given_back(answers):
    answers.claim(*ME, "a")
    answers.keep(*ME, ANSWER)
    answers.release(*ME)
    assert answers.claim(*ME, "a") == ANSWER


def test_an_answer_is_kept_for_a_day(answers, clock):
    answers.claim(*ME, "a")
    answers.keep(*ME, ANSWER)
    clock.now += remembered_answers.KEPT_SECONDS - 1
    assert answers.claim(*ME, "a") == ANSWER
    clock.now += 2
    assert answers.claim(*ME, "b") is None


def test_of_many_requests_with_one_key_one_does_it(answers, tmp_path, clock):
    def attempt(_):
        try:
            return RememberedAnswers(tmp_path / "home" / "answers.db", now=clock).claim(*ME, "a")
        except KeyInUseError:
            return "in use"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(32)))
    assert sorted(map(str, outcomes)) == ["None", *["in use"] * 31]


def test_another_process_finds_the_answer(answers, tmp_path, clock):
    answers.claim(*ME, "a")
    answers.keep(*ME, ANSWER)
    program = (
        "import sys; from pathlib import Path; from serving.remembered_answers import RememberedAnswers; "
        f"print(RememberedAnswers(Path(sys.argv[1]), now=lambda: {clock.now}).claim('app', 'key-1', 'a').body)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "home" / "answers.db")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == str(ANSWER.body)


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=80))
def test_the_memory_is_bounded_and_the_newest_answers_are_in_it(tmp_path_factory, sizes):
    clock = Clock()
    answers = RememberedAnswers(tmp_path_factory.mktemp("answers") / "answers.db", now=clock)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"MOST_ANSWERS": 20, "MOST_BYTES": 2000, "_PRUNED_EVERY": 1}.items():
            patch.setattr(remembered_answers, name, value)
        for n, size in enumerate(sizes):
            clock.now += 1
            answers.claim("app", str(n), "a")
            answers.keep("app", str(n), KeptAnswer(200, b"x" * size))
        with answers._changing() as db:
            kept = [(int(k), s) for k, s in db.execute("SELECT key, size FROM answers ORDER BY at").fetchall()]
    assert len(kept) <= 20
    assert sum(size for _, size in kept) <= 2000
    assert [n for n, _ in kept] == list(range(len(sizes)))[-len(kept) :]


def test_an_answer_that_is_too_large_is_not_kept_and_the_key_is_free_again(answers, monkeypatch):
    monkeypatch.setattr(remembered_answers, "LARGEST_ANSWER", 3)
    answers.claim(*ME, "a")
    answers.keep(*ME, KeptAnswer(200, b"xxxx"))
    assert answers.claim(*ME, "b") is None
