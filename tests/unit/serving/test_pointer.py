"""The pointer names champion and challenger as one fact: who changes it compares, and no half of it is ever read."""

import json
import threading
from pathlib import Path

import pytest

from serving.pointer import Placed, PointerMovedError, place, point, read_challenger, read_pointer, remove, stop
from serving.release import ReleaseError


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    point(tmp_path, "a")
    point(tmp_path, "b")
    return tmp_path


def test_a_challenger_stands_beside_the_champion_until_another_release_answers(releases: Path) -> None:
    place(releases, Placed("c", 0.1), beside="b")
    assert read_challenger(releases) == Placed("c", 0.1)
    assert read_pointer(releases) == {"id": "b", "previous": "a"}
    point(releases, "b")
    assert read_challenger(releases) == Placed("c", 0.1)
    point(releases, "c")
    assert read_challenger(releases) is None
    assert read_pointer(releases) == {"id": "c", "previous": "b"}


def test_what_was_taken_back_is_remembered_until_the_pointer_moves_again(releases: Path) -> None:
    point(releases, "a", taken_back="b")
    place(releases, Placed("c", 0.1), beside="a")
    assert read_pointer(releases) == {"id": "a", "previous": "b", "taken_back": "b"}
    point(releases, "c")
    assert read_pointer(releases) == {"id": "c", "previous": "a"}


def test_a_challenger_is_not_placed_beside_another_champion_than_expected(releases: Path) -> None:
    with pytest.raises(ReleaseError, match="release b answers, not a as expected"):
        place(releases, Placed("c", 0.1), beside="a")
    with pytest.raises(ReleaseError, match="b answers already"):
        place(releases, Placed("b", 0.1), beside="b")
    assert read_challenger(releases) is None


def test_a_stopped_challenger_keeps_why_and_is_stopped_once(releases: Path) -> None:
    place(releases, Placed("c", 0.1), beside="b")
    assert not stop(releases, "d", why="not it")
    assert stop(releases, "c", why="first")
    assert not stop(releases, "c", why="second")
    assert read_challenger(releases) == Placed("c", 0.1, "first")
    assert not remove(releases, "d")
    assert remove(releases, "c")
    assert read_challenger(releases) is None


@pytest.mark.parametrize(
    "entry", [3, "c", {"id": "../c", "share": 0}, {"id": "c"}, {"id": "c", "share": 2}, {"id": "c", "share": "x"}]
)
def test_an_entry_that_is_no_challenger_is_refused_and_the_champion_is_still_named(
    releases: Path, entry: object
) -> None:
    (releases / "current").write_text(json.dumps({"id": "b", "previous": "a", "challenger": entry}))
    assert read_pointer(releases)["id"] == "b"
    with pytest.raises(ReleaseError, match="current"):
        read_challenger(releases)


def test_of_many_that_stop_a_challenger_at_once_one_does_it_and_readers_never_see_half_a_file(releases: Path) -> None:
    done: list[bool] = []
    place(releases, Placed("c", 0.1), beside="b")
    threads = [threading.Thread(target=lambda n=n: done.append(stop(releases, "c", why=str(n)))) for n in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert read_pointer(releases)["id"] == "b"
        assert read_challenger(releases) is not None
    assert sorted(done) == [False] * 7 + [True]


def test_a_pointer_that_is_another_than_was_seen_is_not_moved(releases: Path) -> None:
    seen = read_pointer(releases)
    point(releases, "c")
    with pytest.raises(PointerMovedError, match="release c answers by now, not b"):
        point(releases, "a", seen=seen)
    assert read_pointer(releases)["id"] == "c"
    point(releases, "c", seen=seen)  # whoever wanted that has it
    point(releases, "a", seen=read_pointer(releases))
    assert read_pointer(releases) == {"id": "a", "previous": "c"}
