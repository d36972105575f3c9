"""A rollback puts the previous release back as one unit, writes down what it owes, and moves nothing when it cannot."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poplift import alias_moves
from poplift.ledger import Move
from poplift.settings import Settings
from serving.current import activate
from serving.pointer import Placed, PointerMovedError, place, read_challenger, read_pointer
from serving.release import Release, ReleaseError
from serving.rollback import NoPreviousReleaseError, roll_back


@pytest.fixture
def promoted(settings: Settings, newer: Release) -> Release:
    """The same, and the ledger knows how either version became champion."""
    book = alias_moves.ledger(settings)
    first = Move("demand", "champion", None, "1", "ana", "first", "refuse", alias_moves.wall_now(), override="anna")
    book.append(first)
    book.append(replace(first, from_version="1", to_version="2", why="second", verdict="pass", override=None))
    return newer


def states(settings: Settings) -> list[str]:
    return [entry.move.state for entry in alias_moves.ledger(settings).entries()]


def test_the_previous_release_answers_again_and_the_ledger_owes_its_model_the_alias(
    settings: Settings, active: Release, promoted: Release
) -> None:
    back = roll_back(settings, who="ben", why="complaints")
    assert (back.release_id, back.taken_back) == (active.id, promoted.id)
    assert read_pointer(settings.releases_dir) == {"id": active.id, "previous": promoted.id}
    owed = alias_moves.ledger(settings).open_intent(model="demand", alias="champion")
    assert owed is not None
    assert owed == back.owed
    assert (owed.from_version, owed.to_version, owed.who, owed.why) == ("2", "1", "ben", "complaints")
    assert (owed.verdict, owed.override, owed.state) == ("refuse", "anna", "owed")


def test_rolling_back_twice_is_where_it_began(settings: Settings, active: Release, newer: Release) -> None:
    assert roll_back(settings, who="ben", why="complaints").release_id == active.id
    assert roll_back(settings, who="ben", why="it was not the model").release_id == newer.id


def test_a_challenger_goes_with_the_release_it_stood_beside(
    settings: Settings, newer: Release, release_of: Callable[..., Release], model_folder: Path
) -> None:
    place(settings.releases_dir, Placed(release_of(model_folder, "3").id, 0.1), beside=newer.id)
    roll_back(settings, who="ben", why="complaints")
    assert read_challenger(settings.releases_dir) is None


def test_without_a_previous_release_it_says_so_and_owes_nothing(settings: Settings, active: Release) -> None:
    with pytest.raises(NoPreviousReleaseError, match="no previous release"):
        roll_back(settings, who="ben", why="complaints")
    assert states(settings) == []


def test_a_release_that_does_not_answer_cannot_be_taken_back(
    settings: Settings, active: Release, promoted: Release
) -> None:
    with pytest.raises(PointerMovedError, match=f"release {promoted.id} answers, not {active.id}"):
        roll_back(settings, who="ben", why="complaints", instead_of=active.id)
    assert read_pointer(settings.releases_dir)["id"] == promoted.id
    assert states(settings) == ["moved", "moved"]
    assert roll_back(settings, who="ben", why="complaints", instead_of=promoted.id).release_id == active.id


def test_a_previous_release_that_does_not_verify_stays_where_it_is(
    settings: Settings, active: Release, promoted: Release
) -> None:
    head = active.folder / "transactions.lgb"
    head.write_bytes(head.read_bytes()[:-1] + b"x")
    with pytest.raises(ReleaseError, match=r"transactions\.lgb"):
        roll_back(settings, who="ben", why="complaints")
    assert read_pointer(settings.releases_dir)["id"] == promoted.id
    assert states(settings) == ["moved", "moved"]


def test_a_pointer_that_was_moved_meanwhile_stays_and_the_owed_move_is_dropped(
    settings: Settings,
    promoted: Release,
    release_of: Callable[..., Release],
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    third = release_of(model_folder, "3")
    owe = alias_moves.owe

    def slowly(*given: Any, **named: Any) -> Move | None:
        activate(third.id, releases_dir=settings.releases_dir)
        return owe(*given, **named)

    monkeypatch.setattr(alias_moves, "owe", slowly)
    with pytest.raises(PointerMovedError, match=f"release {third.id} answers by now, not {promoted.id}"):
        roll_back(settings, who="ben", why="complaints")
    assert read_pointer(settings.releases_dir)["id"] == third.id
    assert states(settings) == ["moved", "moved", "owed", "dropped"]
    assert alias_moves.ledger(settings).open_intent(model="demand", alias="champion") is None


def test_of_many_at_once_who_want_one_release_away_one_puts_the_former_back(
    settings: Settings, active: Release, promoted: Release
) -> None:
    back: list[str] = []
    refused: list[Exception] = []

    def ask(number: int) -> None:
        try:
            back.append(roll_back(settings, who=f"{number}", why="complaints", instead_of=promoted.id).release_id)
        except PointerMovedError as error:
            refused.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(back) == {active.id}
    assert len(back) + len(refused) == 6
    assert read_pointer(settings.releases_dir) == {"id": active.id, "previous": promoted.id}
