"""A release is immutable: same content, same id; any byte changed, refused."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_examples
from hypothesis import strategies as st

from poplift.settings import Settings
from serving.policy import Policy
from serving.release import LoadedRelease, Release, ReleaseError, build, load, verify


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x01
    path.write_bytes(bytes(content))


def resign(folder: Path) -> Path:
    """Give a doctored release hashes and an id that fit: what remains is what only the golden rows see."""
    from serving.release import MANIFEST, _canonical, _digest, _sha256

    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["checksum"]
    for name in manifest["content"]["files"]:
        manifest["content"]["files"][name] = _sha256(folder / name)
    manifest["id"] = _digest(manifest["content"])[:12]
    manifest["checksum"] = _digest(manifest)
    (folder / MANIFEST).write_text(_canonical(manifest))
    return folder.rename(folder.parent / manifest["id"])


def test_the_same_content_is_the_same_release_and_writes_nothing_new(
    settings: Settings, release: Release, model_folder: Path, policy: Policy, golden: pd.DataFrame
) -> None:
    before = {p: p.stat().st_mtime_ns for p in release.folder.iterdir()}
    again = build(
        model_folder,
        releases_dir=settings.releases_dir,
        policy=policy,
        golden=golden,
        versions={"model_name": "demand", "model_version": "1"},
        created_at=datetime(2018, 1, 2, tzinfo=UTC),
    )
    assert again.id == release.id
    assert {p: p.stat().st_mtime_ns for p in release.folder.iterdir()} == before
    assert [p.name for p in settings.releases_dir.iterdir() if p.is_dir()] == [release.id]


def test_another_version_policy_or_model_is_another_release(
    settings: Settings, release: Release, release_of: Any, other_model_folder: Path, model_folder: Path
) -> None:
    ids = {release.id, release_of(other_model_folder).id, release_of(model_folder, "2").id}
    assert len(ids) == 3


def test_a_release_bears_its_files_hashes_and_versions(release: Release) -> None:
    manifest = json.loads((release.folder / "manifest.json").read_text())
    files = {p.name for p in release.folder.iterdir()}
    assert set(manifest["content"]["files"]) == files - {"manifest.json"}
    assert manifest["content"]["versions"]["model_version"] == "1"
    assert len(release.id) == 12


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, model_folder: Path, policy: Policy, golden: pd.DataFrame
) -> dict[str, bytes]:
    """A release's files by name, and its folder's name under the empty one."""
    folder = tmp_path_factory.mktemp("releases")
    built = build(model_folder, releases_dir=folder, policy=policy, golden=golden, versions={})
    return {path.name: path.read_bytes() for path in built.folder.iterdir()} | {"": built.id.encode()}


@settings_of_examples(max_examples=60, deadline=None)
@given(st.data())
def test_any_flipped_bit_of_any_file_is_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, whole: dict[str, bytes], data: st.DataObject
) -> None:
    names = sorted(name for name in whole if name)
    name = data.draw(st.sampled_from(names))
    at, bit = data.draw(st.integers(0, len(whole[name]) - 1)), data.draw(st.integers(0, 7))
    folder = tmp_path_factory.mktemp("flipped") / whole[""].decode()
    folder.mkdir()
    for other in names:
        content = bytearray(whole[other])
        if other == name:
            content[at] ^= 1 << bit
        (folder / other).write_bytes(bytes(content))
    with pytest.raises(ReleaseError, match=name):
        verify(folder)


def test_a_flipped_byte_in_any_file_is_refused_by_name(release: Release) -> None:
    for path in sorted(release.folder.iterdir()):
        original = path.read_bytes()
        for at in (0, len(original) // 2, len(original) - 1):
            flip(path, at)
            with pytest.raises(ReleaseError, match=path.name):
                verify(release.folder)
            path.write_bytes(original)
    verify(release.folder)


def test_a_missing_and_an_unexpected_file_are_refused_by_name(release: Release) -> None:
    (release.folder / "extra.pkl").write_bytes(b"\x80")
    with pytest.raises(ReleaseError, match=r"extra\.pkl: is not part"):
        verify(release.folder)
    (release.folder / "extra.pkl").unlink()
    (release.folder / "units.lgb").unlink()
    with pytest.raises(ReleaseError, match=r"units\.lgb: is missing"):
        verify(release.folder)


def test_a_release_under_another_name_or_behind_a_link_is_refused(release: Release) -> None:
    copy = release.folder.parent / "000000000000"
    shutil.copytree(release.folder, copy)
    with pytest.raises(ReleaseError, match="bears its id"):
        load(copy)
    target = release.folder / "units.lgb"
    moved = target.rename(release.folder.parent / "elsewhere")
    target.symlink_to(moved)
    with pytest.raises(ReleaseError, match="plain file"):
        verify(release.folder)


def test_golden_rows_that_are_not_predicted_as_recorded_are_refused(release: Release) -> None:
    golden = json.loads((release.folder / "golden.json").read_text())
    golden["expected"]["units"][2] += 1e-6
    (release.folder / "golden.json").write_text(json.dumps(golden))
    with pytest.raises(ReleaseError, match=r"golden\.json: row 2 of head 'units'"):
        verify(resign(release.folder))


def test_heads_that_were_mixed_up_are_refused_by_the_golden_rows(release: Release) -> None:
    plan = json.loads((release.folder / "plan.json").read_text())
    plan["heads"]["transactions"], plan["heads"]["units"] = plan["heads"]["units"], plan["heads"]["transactions"]
    (release.folder / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(ReleaseError, match="not predicted as recorded"):
        verify(resign(release.folder))


def test_a_model_of_other_features_than_the_plan_is_refused(
    tmp_path: Path, settings: Settings, model_folder: Path, policy: Policy, golden: pd.DataFrame
) -> None:
    folder = Path(shutil.copytree(model_folder, tmp_path / "model"))
    plan = json.loads((folder / "plan.json").read_text())
    plan["features"][0] = "something_else"
    plan["defaults"]["something_else"] = 0.0
    (folder / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(ReleaseError, match="something_else"):
        build(
            folder,
            releases_dir=settings.releases_dir,
            policy=policy,
            golden=golden.assign(something_else=1.0),
            versions={},
        )
    assert not list(settings.releases_dir.rglob("*.lgb"))


@pytest.mark.parametrize("name", ["../units.lgb", "model.pkl", "/etc/passwd"])
def test_a_head_outside_the_folder_or_of_another_format_is_refused(
    tmp_path: Path, model_folder: Path, release_of: Any, name: str
) -> None:
    folder = Path(shutil.copytree(model_folder, tmp_path / "model"))
    plan = json.loads((folder / "plan.json").read_text())
    plan["heads"]["units"] = name
    (folder / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(ReleaseError, match=r"is not a \.lgb file"):
        release_of(folder)


def test_what_a_killed_build_left_behind_is_cleared_by_the_next(
    settings: Settings, release_of: Any, model_folder: Path
) -> None:
    left = settings.releases_dir / ".building-left"
    left.mkdir(parents=True)
    (left / "units.lgb").write_text("half")
    release_of(model_folder)
    assert not left.exists()


def test_golden_rows_may_have_missing_values(loaded: LoadedRelease) -> None:
    golden = json.loads((loaded.folder / "golden.json").read_text())
    assert golden["rows"][0][0] is None
    assert np.isfinite(golden["expected"]["transactions"]).all()


def test_a_plan_without_a_default_for_every_feature_is_refused(
    tmp_path: Path, model_folder: Path, release_of: Any
) -> None:
    folder = Path(shutil.copytree(model_folder, tmp_path / "model"))
    plan = json.loads((folder / "plan.json").read_text())
    del plan["defaults"]["plan_depth"]
    (folder / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(ReleaseError, match="no finite default for plan_depth"):
        release_of(folder)


def test_a_model_folder_without_a_plan_says_what_to_do(
    tmp_path: Path, settings: Settings, policy: Policy, golden: pd.DataFrame
) -> None:
    with pytest.raises(ReleaseError, match=r"plan\.json: is missing"):
        build(tmp_path, releases_dir=settings.releases_dir, policy=policy, golden=golden, versions={})
