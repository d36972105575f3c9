"""One call puts the previous release back: served at once, written down once, and refused where nothing may move."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from poplift import alias_moves
from poplift.settings import Settings
from serving.idempotency import HEADER, REPLAYED
from serving.pointer import read_pointer
from serving.release import Release

PATH = "/v1/releases/rollback"
WHY = {"why": "answers too high"}


@pytest.fixture
def served(newer: Release, app: FastAPI, serving: Any) -> Iterator[httpx.Client]:
    """The application after version 2 was released."""
    with serving(app) as client:
        assert client.get("/version").json()["release_id"] == newer.id
        yield client


def states(settings: Settings) -> list[tuple[str, str, str | None]]:
    moves = [entry.move for entry in alias_moves.ledger(settings).entries()]
    return [(move.state, move.who, move.to_version) for move in moves]


def test_the_previous_release_answers_the_next_request_and_the_ledger_owes_the_alias(
    settings: Settings, active: Release, newer: Release, served: httpx.Client
) -> None:
    answer = served.post(PATH, json=WHY)
    assert answer.status_code == 200
    said = answer.json()
    assert (said["release_id"], said["taken_back"], said["model_version"]) == (active.id, newer.id, "1")
    assert served.get("/version").json()["release_id"] == active.id
    assert served.get("/v1/recommendations/367").json()["release"]["model_version"] == "1"
    assert states(settings) == [("owed", "API", "1")]


def test_the_same_call_sent_again_under_its_key_is_done_once(
    settings: Settings, active: Release, served: httpx.Client
) -> None:
    first, again = (served.post(PATH, json=WHY, headers={HEADER: "rollback-1"}) for _ in range(2))
    assert first.content == again.content
    assert again.headers[REPLAYED] == "true"
    assert read_pointer(settings.releases_dir)["id"] == active.id
    assert len(states(settings)) == 1


def test_a_release_that_went_already_is_a_409_and_nothing_moves(
    settings: Settings, active: Release, newer: Release, served: httpx.Client
) -> None:
    asked = {**WHY, "release_id": newer.id}
    assert served.post(PATH, json=asked).status_code == 200
    again = served.post(PATH, json=asked)
    assert again.status_code == 409
    assert again.headers["content-type"] == "application/problem+json"
    assert again.json()["type"] == "urn:poplift:problem:release-moved"
    assert again.json()["detail"] == f"release {active.id} answers, not {newer.id}; nothing was rolled back."
    assert read_pointer(settings.releases_dir)["id"] == active.id
    assert len(states(settings)) == 1


def test_without_a_previous_release_it_is_a_409(settings: Settings, client: httpx.Client) -> None:
    answer = client.post(PATH, json=WHY)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:poplift:problem:no-previous-release")
    assert states(settings) == []


def test_a_previous_release_that_was_tampered_with_is_a_409_that_tells_no_path(
    capfd: pytest.CaptureFixture[str], settings: Settings, active: Release, newer: Release, served: httpx.Client
) -> None:
    # `capfd` comes first, so that it ends last: the server may log after its answer, and must not into a closed file
    head = active.folder / "transactions.lgb"
    head.write_bytes(head.read_bytes()[:-1] + b"x")
    answer = served.post(PATH, json=WHY)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:poplift:problem:release-refused")
    assert str(settings.home) not in answer.text
    assert "transactions.lgb" in "".join(capfd.readouterr())
    assert served.get("/version").json()["release_id"] == newer.id


def test_a_ledger_that_cannot_be_written_is_a_503_and_nothing_moves(
    settings: Settings, newer: Release, served: httpx.Client
) -> None:
    settings.ledger_path.mkdir()
    answer = served.post(PATH, json=WHY)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:poplift:problem:not-ready")
    assert read_pointer(settings.releases_dir)["id"] == newer.id


def test_the_ledger_names_the_key_of_whoever_asked(
    settings: Settings, newer: Release, guarded: Any, key_of: Any, serving: Any
) -> None:
    app_key, on_call = key_of("decide", name="app"), key_of("operate", name="on call")
    with serving(guarded()) as client:
        assert client.post(PATH, json=WHY, headers=app_key).status_code == 403
        assert states(settings) == []
        assert client.post(PATH, json=WHY, headers=on_call).status_code == 200
    assert states(settings) == [("owed", "on call (API)", "1")]


@pytest.mark.parametrize("body", [{}, {"why": ""}, {"why": "x" * 501}, {**WHY, "release_id": ""}, {**WHY, "to": "3"}])
def test_a_call_without_a_reason_or_with_more_than_it_may_say_is_a_422(
    settings: Settings, newer: Release, served: httpx.Client, body: dict[str, str]
) -> None:
    assert served.post(PATH, json=body).status_code == 422
    assert read_pointer(settings.releases_dir)["id"] == newer.id
