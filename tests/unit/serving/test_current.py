"""The served release follows the pointer, and the last good one stays when the next does not verify."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from poplift.atomic import write_whole
from poplift.settings import Settings
from serving.app import create_app
from serving.current import CurrentRelease, activate, current_policy, load_current
from serving.pointer import read_pointer
from serving.release import Release, ReleaseError
from serving.rollback import roll_back


def current(settings: Settings) -> tuple[CurrentRelease, list[str]]:
    errors: list[str] = []
    return CurrentRelease(settings.releases_dir, on_error=errors.append, on_swap=lambda _: None), errors


def spoil(release: Release) -> None:
    path = release.folder / "transactions.lgb"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def wait_until_served(client: httpx.Client, release_id: str) -> None:
    deadline = time.monotonic() + 10
    while client.get("/version").json()["release_id"] != release_id:
        assert time.monotonic() < deadline, f"{release_id} was not served in time"
        time.sleep(0.01)


def test_the_activated_release_can_be_loaded_by_others(settings: Settings, active: Release) -> None:
    assert load_current(settings.releases_dir).id == active.id
    (settings.releases_dir / "current").unlink()
    with pytest.raises(ReleaseError, match="run `poplift release`"):
        load_current(settings.releases_dir)


def test_the_policy_in_force_is_that_of_the_activated_release_and_none_before(
    settings: Settings, release: Release
) -> None:
    assert current_policy(settings.releases_dir) is None
    activate(release.id, releases_dir=settings.releases_dir)
    policy = current_policy(settings.releases_dir)
    assert policy is not None
    assert policy.exploration_share == 0.0


def test_activating_what_is_active_keeps_the_way_back(
    settings: Settings, active: Release, release_of: Any, other_model_folder: Path
) -> None:
    newer = release_of(other_model_folder, "2")
    activate(newer.id, releases_dir=settings.releases_dir)
    activate(newer.id, releases_dir=settings.releases_dir)
    assert read_pointer(settings.releases_dir)["previous"] == active.id


def test_a_release_that_does_not_verify_is_never_activated(
    settings: Settings, active: Release, release_of: Any, other_model_folder: Path
) -> None:
    bad = release_of(other_model_folder, "2")
    spoil(bad)
    with pytest.raises(ReleaseError, match=r"transactions\.lgb"):
        activate(bad.id, releases_dir=settings.releases_dir)
    assert read_pointer(settings.releases_dir)["id"] == active.id


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"id": 3}', '{"id": "../../etc"}'])
def test_a_torn_pointer_leaves_the_last_good_release(settings: Settings, active: Release, content: str) -> None:
    following, errors = current(settings)
    assert following.refresh()
    (settings.releases_dir / "current").write_text(content)
    assert not following.refresh()
    assert following.get().id == active.id
    assert "current" in errors[0]


def test_after_a_restart_a_spoiled_release_gives_way_to_the_previous_one(
    settings: Settings, active: Release, release_of: Any, other_model_folder: Path
) -> None:
    newer = release_of(other_model_folder, "2")
    activate(newer.id, releases_dir=settings.releases_dir)
    spoil(newer)
    following, errors = current(settings)
    assert following.refresh()
    assert following.get().id == active.id
    assert "transactions.lgb" in str(following.error)
    assert len(errors) == 1


def test_a_refused_release_is_not_verified_over_and_over(
    settings: Settings, active: Release, release_of: Any, other_model_folder: Path
) -> None:
    following, errors = current(settings)
    following.refresh()
    newer = release_of(other_model_folder, "2")
    activate(newer.id, releases_dir=settings.releases_dir)
    spoil(newer)
    for _ in range(5):
        following.refresh()
    assert len(errors) == 1
    assert following.error is not None


def test_a_running_service_swaps_to_a_new_release_and_back_without_a_failed_request(
    client: httpx.Client, settings: Settings, active: Release, release_of: Any, other_model_folder: Path
) -> None:
    newer = release_of(other_model_folder, "2")
    activate(newer.id, releases_dir=settings.releases_dir)
    wait_until_served(client, newer.id)
    assert client.get("/v1/recommendations/367").json()["release"]["model_version"] == "2"
    roll_back(settings, who="ben", why="complaints")
    wait_until_served(client, active.id)
    assert client.get("/v1/recommendations/367").json()["release"]["id"] == active.id


def test_a_running_service_refuses_a_flipped_byte_and_the_last_good_release_serves(
    client: httpx.Client, settings: Settings, active: Release, release_of: Any, other_model_folder: Path
) -> None:
    newer = release_of(other_model_folder, "2")
    activate(newer.id, releases_dir=settings.releases_dir)
    wait_until_served(client, newer.id)
    spoil(active)
    write_whole(settings.releases_dir / "current", f'{{"id": "{active.id}", "previous": null}}')
    deadline = time.monotonic() + 10
    while client.get("/version").json()["release_error"] is None:
        assert time.monotonic() < deadline, "the spoiled release was not noticed"
        time.sleep(0.01)
    assert "transactions.lgb" in client.get("/version").json()["release_error"]
    assert client.get("/v1/recommendations/367").json()["release"]["id"] == newer.id
    metrics = client.get("/metrics").text
    assert "poplift_release_refused_total 1.0" in metrics
    assert "poplift_release_current 0.0" in metrics


def test_the_service_goes_on_when_all_releases_vanish_from_disk(
    settings: Settings, active: Release, store: Any, limits: Any, serving: Any
) -> None:
    import shutil

    with serving(create_app(settings, reader=store, limits=limits)) as client:
        shutil.rmtree(settings.releases_dir)
        time.sleep(0.1)
        assert client.get("/v1/recommendations/367").status_code == 200
