"""The release: an immutable, checksummed folder of model, plan, policy and golden rows that serving loads."""

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock
from pydantic import ValidationError

from poplift.atomic import sync
from serving.boosters import Booster, BoosterError
from serving.heads import Heads
from serving.leaf_shares import Floats
from serving.policy import Policy
from serving.remembered import Remembered

if TYPE_CHECKING:
    import pandas as pd

HEADS = ("transactions", "units", "transactions_q10", "transactions_q90")
EXPLAINED = "transactions"  # the head that reasons are given for
MANIFEST, PLAN, POLICY, GOLDEN = "manifest.json", "plan.json", "policy.json", "golden.json"
GOLDEN_TOLERANCE = 1e-9


class ReleaseError(Exception):
    """A release is missing, incomplete, tampered with or wrong; the message names the file and what to do."""


@dataclass(frozen=True)
class Release:
    """A built release: its id, its folder and what its manifest says."""

    id: str
    folder: Path
    versions: Mapping[str, Any]
    created_at: datetime | None


@dataclass(frozen=True)
class LoadedRelease:
    """A verified release in memory: nothing on disk is needed any more to answer."""

    id: str
    folder: Path
    versions: Mapping[str, Any]
    plan: Mapping[str, Any]
    policy: Policy
    heads: Heads
    predictions: Remembered = field(default_factory=Remembered)
    explanations: Remembered = field(default_factory=Remembered)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the model's features, in the order of its plan."""
        return self.heads.features

    @property
    def defaults(self) -> Mapping[str, float]:
        """What takes the place of a missing value, by feature."""
        return self.heads.defaults

    @property
    def model_name(self) -> str:
        """Registered name of the model."""
        return str(self.versions.get("model_name", "demand"))

    @property
    def model_version(self) -> str:
        """Version of the model in the registry."""
        return str(self.versions.get("model_version", "unknown"))


def build(
    model_folder: Path,
    *,
    releases_dir: Path,
    policy: Policy,
    golden: "pd.DataFrame",
    versions: Mapping[str, Any],
    created_at: datetime | None = None,
) -> Release:
    """Put a model folder, a policy and golden rows into `releases_dir/<id>/` and verify the result.

    `golden` holds at least one row with every feature of the model's plan; NaN is a legal value. `versions`
    names where the model came from (`model_name`, `model_version`, code, data). The id is the first 12 hex
    digits of the SHA-256 of the manifest's content: the same content is the same release and writes nothing
    new; `created_at` is recorded beside it and is no part of the id. Raises ReleaseError.
    """
    plan = _read_plan(model_folder)
    missing = [name for name in plan["features"] if name not in golden.columns]
    if missing or golden.empty:
        raise ReleaseError(f"golden rows: need at least one row with all features, missing {missing[:5]}")
    releases_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(releases_dir / ".lock"):
        for left in releases_dir.glob(".building-*"):  # of a process that was killed; the lock says nobody is at it
            shutil.rmtree(left)
        temporary = releases_dir / f".building-{uuid.uuid4().hex}"
        temporary.mkdir()
        try:
            release = _write(
                temporary,
                model_folder=model_folder,
                plan=plan,
                policy=policy,
                golden=golden,
                versions=versions,
                created_at=created_at,
            )
            if release.folder.exists():
                return verify(release.folder)
            _verify(temporary, expected_id=release.id)
            temporary.rename(release.folder)
            sync(releases_dir)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return release


def verify(folder: Path) -> Release:
    """Check every byte and golden row of a release; raise ReleaseError that names the file and what to do."""
    manifest, _, _ = _verify(folder, expected_id=folder.name)
    return _release(folder, manifest)


def load(folder: Path) -> LoadedRelease:
    """Verify a release and keep its models in memory; raises ReleaseError."""
    manifest, loaded, golden = _verify(folder, expected_id=folder.name)
    text = (folder / loaded["plan"]["heads"][EXPLAINED]).read_text()
    loaded["heads"] = loaded["heads"].explaining(EXPLAINED, text, golden)
    return LoadedRelease(id=folder.name, folder=folder, versions=manifest["content"]["versions"], **loaded)


def _write(
    temporary: Path,
    *,
    model_folder: Path,
    plan: dict[str, Any],
    policy: Policy,
    golden: "pd.DataFrame",
    versions: Mapping[str, Any],
    created_at: datetime | None,
) -> Release:
    for name in (PLAN, *plan["heads"].values()):
        shutil.copyfile(model_folder / name, temporary / name)
    (temporary / POLICY).write_text(policy.model_dump_json(indent=1))
    heads = _heads(temporary, plan)
    rows = golden[plan["features"]].to_numpy(dtype=np.float64)
    # a JSON null is a NaN: the one missing value of a model input
    cells = [[None if np.isnan(cell) else float(cell) for cell in row] for row in rows]
    expected = {head: values.tolist() for head, values in heads.predict(heads.filled(rows)).items()}
    golden_file = {"columns": plan["features"], "rows": cells, "expected": expected}
    (temporary / GOLDEN).write_text(json.dumps(golden_file, allow_nan=False))
    files = {path.name: _sha256(path) for path in sorted(temporary.iterdir())}
    content = {"schema": 1, "versions": dict(versions), "files": files}
    release_id = _digest(content)[:12]
    manifest: dict[str, Any] = {
        "id": release_id,
        "created_at": created_at.astimezone(UTC).isoformat() if created_at else None,
        "content": content,
    }
    manifest["checksum"] = _digest(manifest)
    (temporary / MANIFEST).write_text(_canonical(manifest))
    for path in temporary.iterdir():
        sync(path)
    return _release(temporary.parent / release_id, manifest)


def _verify(folder: Path, *, expected_id: str) -> tuple[dict[str, Any], dict[str, Any], Floats]:
    manifest = _verified_manifest(folder, expected_id)
    plan = _read_plan(folder)
    try:
        policy = Policy.model_validate_json((folder / POLICY).read_bytes())
    except ValidationError as error:
        raise ReleaseError(f"{folder / POLICY}: {error.error_count()} wrong values; build again") from error
    heads = _heads(folder, plan)
    golden = _checked_golden(folder / GOLDEN, heads)
    return manifest, {"plan": plan, "policy": policy, "heads": heads}, golden


def _verified_manifest(folder: Path, expected_id: str) -> dict[str, Any]:
    path = folder / MANIFEST
    manifest = read_json(path)
    try:
        files, checksum = manifest["content"]["files"], manifest.pop("checksum")
        sound = checksum == _digest(manifest) and manifest["id"] == _digest(manifest["content"])[:12]
    except (AttributeError, KeyError, TypeError):
        sound = False
    if not sound or path.read_text() != _canonical({**manifest, "checksum": checksum}):
        raise ReleaseError(f"{path}: does not match its checksum; build the release again")
    if manifest["id"] != expected_id:
        raise ReleaseError(f"{folder}: holds release {manifest['id']}; a release's folder bears its id")
    present = {p.name for p in folder.iterdir()} - {MANIFEST}
    for name in sorted(present ^ set(files)):
        what = "is missing" if name in files else "is not part of the release"
        raise ReleaseError(f"{folder / name}: {what}; build the release again")
    for name, digest in files.items():
        if _sha256(folder / name) != digest:
            raise ReleaseError(f"{folder / name}: bytes differ from the manifest; build the release again")
    verified: dict[str, Any] = manifest
    return verified


def _read_plan(folder: Path) -> dict[str, Any]:
    path = folder / PLAN
    plan = read_json(path)
    heads = plan.get("heads") if isinstance(plan, dict) else None
    if not isinstance(heads, dict) or set(heads) != set(HEADS) or not plan.get("features"):
        raise ReleaseError(f"{path}: needs 'features' and 'heads' {list(HEADS)}; save the model again")
    defaults = plan.get("defaults", {})
    bare = [name for name in plan["features"] if not np.isfinite(defaults.get(name, np.nan))]
    if bare:
        raise ReleaseError(f"{path}: no finite default for {', '.join(bare[:5])}; save the model again")
    for name in heads.values():
        # text models only, in this folder only: nothing here may run code or reach outside
        if Path(name).name != name or not name.endswith(".lgb"):
            raise ReleaseError(f"{path}: head {name!r} is not a .lgb file of its folder")
    checked: dict[str, Any] = plan
    return checked


def _heads(folder: Path, plan: Mapping[str, Any]) -> Heads:
    boosters = {}
    for head, name in plan["heads"].items():
        try:
            booster = Booster((folder / name).read_text())
        except (OSError, UnicodeDecodeError, BoosterError) as error:
            raise ReleaseError(f"{folder / name}: is not a readable LightGBM model ({error})") from error
        if sorted(booster.feature_names) != sorted(plan["features"]):
            odd = sorted(set(booster.feature_names) ^ set(plan["features"]))[:5]
            raise ReleaseError(f"{folder / name}: its features differ from {PLAN}: {odd}; train again")
        boosters[head] = booster
    defaults = {name: float(plan["defaults"][name]) for name in plan["features"]}
    return Heads(tuple(plan["features"]), defaults, boosters)


def _checked_golden(path: Path, heads: Heads) -> Floats:
    """The golden rows, complete, when every head predicts them as recorded."""
    golden = read_json(path)
    rows = np.array(golden["rows"], dtype=np.float64).reshape(-1, len(golden["columns"]))
    rows = heads.completed(dict(zip(golden["columns"], rows.T, strict=True)))
    for head, predicted in heads.predict(rows).items():
        apart = np.abs(predicted - np.asarray(golden["expected"][head]))
        if not len(rows) or not (apart <= GOLDEN_TOLERANCE).all():
            worst = int(np.argmax(apart)) if len(rows) else 0
            raise ReleaseError(f"{path}: row {worst} of head {head!r} is not predicted as recorded; build again")
    return rows


def _release(folder: Path, manifest: Mapping[str, Any]) -> Release:
    created = manifest["created_at"]
    return Release(
        id=manifest["id"],
        folder=folder,
        versions=manifest["content"]["versions"],
        created_at=datetime.fromisoformat(created) if created else None,
    )


def read_json(path: Path) -> Any:
    """Content of a file of a release; raise ReleaseError when it is missing or not JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ReleaseError(f"{path}: is missing; build the release again") from None
    except ValueError as error:
        raise ReleaseError(f"{path}: is not JSON ({error}); build the release again") from error


def versions_of(folder: Path) -> Mapping[str, Any]:
    """What a release was built from, as its manifest says, which is not verified; raises ReleaseError."""
    try:
        return dict(read_json(folder / MANIFEST)["content"]["versions"])
    except (KeyError, TypeError, ValueError) as error:
        raise ReleaseError(f"{folder / MANIFEST}: names no versions; build the release again") from error


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, indent=1)


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def _sha256(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        raise ReleaseError(f"{path}: is not a plain file; build the release again")
    return hashlib.sha256(path.read_bytes()).hexdigest()
