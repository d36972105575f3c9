"""Step: from one served decision back to release, model, promotion, features, and the raw rows they were made of."""

import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.steps.progress import Progress, silent
from flows.steps.promote import ledger, verdict_of
from flows.steps.traced_rows import LakeRows, ViewRow, lake_rows, outcome_of, view_rows
from poplift import registry
from poplift.ledger import Move
from poplift.settings import Settings
from serving import release
from serving.pointer import read_pointer
from serving.release import ReleaseError

PINS = ("as_of", "feature_service", "first_week", "last_week", "rows", "data_digest")
MADE_BY = ("commit", "code_digest", "seed", "search_trials", "threads")


class UnknownDecisionError(Exception):
    """No decision of that id is in the decision log; the message says where it was looked for."""


@dataclass(frozen=True)
class ServedRelease:
    """The release that answered, as its manifest tells; `standing` is where it is now."""

    id: str
    standing: str
    created_at: str | None
    versions: Mapping[str, Any]
    files: Mapping[str, str]


@dataclass(frozen=True)
class Model:
    """The registered version and the run that made it: pins of the data, code, and the gate's word."""

    name: str
    version: str
    run_id: str
    pins: Mapping[str, str]
    made_by: Mapping[str, str]
    verdict: str
    verdict_digest: str | None


@dataclass(frozen=True)
class Trace:
    """Everything that led to one decision; `gaps` says what could not be had, and what does not fit."""

    decision: Mapping[str, Any]
    file: str
    release: ServedRelease | None
    model: Model | None
    moves: tuple[Move, ...]
    views: tuple[ViewRow, ...]
    requested: Mapping[str, float | None]  # inputs that were computed at request time
    lake: tuple[LakeRows, ...]
    outcome: Mapping[str, Any] | None
    gaps: tuple[str, ...]


def trace(settings: Settings, progress: Progress = silent, *, decision_id: str) -> Trace:
    """Follow a decision back; raises UnknownDecisionError. What is down or gone becomes a gap, not an error."""
    progress("decision log")
    row, file = find_decision(settings.decisions_dir, decision_id)
    gaps: list[str] = []
    progress("release")
    served = _release(settings, str(row["release_id"]), gaps)
    progress("model")
    model = _model(settings, row, served, gaps)
    progress("features")
    entity = {"outlet_id": str(row["outlet_id"]), "ppg_id": str(row["ppg_id"])}
    as_of = datetime.fromisoformat(row["business_time"])
    views = view_rows(settings, row, as_of=as_of)
    gaps += [f"view {v.view}: {v.note}" for v in views if v.note]
    batch = {name for view in views for name in view.values}
    progress("lake")
    return Trace(
        decision=row,
        file=file.name,
        release=served,
        model=model,
        moves=_moves(settings, row, served_at=datetime.fromisoformat(row["wall_time"])),
        views=views,
        requested={name: value for name, value in row["features"].items() if name not in batch},
        lake=lake_rows(settings, entity, as_of=as_of),
        outcome=outcome_of(settings, decision_id),
        gaps=tuple(gaps),
    )


def find_decision(decisions_dir: Path, decision_id: str) -> tuple[dict[str, Any], Path]:
    """The logged row of a decision and its file, newest files first; raises UnknownDecisionError."""
    files = sorted(decisions_dir.glob("*.jsonl"), reverse=True)
    asked = json.dumps(decision_id).encode()
    for path in files:
        for line in _lines_with(path, asked):
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the torn end of a file; its writer wrote it again elsewhere
            if isinstance(row, dict) and row.get("decision_id") == decision_id:
                return row, path
    days = f", of {files[-1].name[:10]} to {files[0].name[:10]}" if files else ""
    raise UnknownDecisionError(
        f"no decision {decision_id!r} in {decisions_dir} ({len(files)} files{days}). An answer carries its "
        "decision_id; was it given by another home, or are the newest rows not on disk yet?"
    )


def _lines_with(path: Path, wanted: bytes) -> list[bytes]:
    if not path.stat().st_size:
        return []
    found = []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.find(wanted)
        while place >= 0:
            start, end = content.rfind(b"\n", 0, place) + 1, content.find(b"\n", place)
            end = len(content) if end < 0 else end
            found.append(content[start:end])
            place = content.find(wanted, end)
    return found


def _release(settings: Settings, release_id: str, gaps: list[str]) -> ServedRelease | None:
    folder = settings.releases_dir / Path(release_id).name
    try:
        manifest = release.read_json(folder / release.MANIFEST)
        pointer = read_pointer(settings.releases_dir)
    except ReleaseError as error:
        gaps.append(f"release {release_id}: {error}")
        return None
    standing = {pointer.get("id"): "serves now", pointer.get("previous"): "the one before"}.get(
        release_id, "not served"
    )
    content = manifest["content"]
    return ServedRelease(release_id, standing, manifest["created_at"], content["versions"], content["files"])


def _model(settings: Settings, row: Mapping[str, Any], served: ServedRelease | None, gaps: list[str]) -> Model | None:
    try:
        found = registry.by_number(settings, name=str(row["model_name"]), version=str(row["model_version"]))
    except Exception as error:  # noqa: BLE001 - MLflow, its database, the network: the rest can be told all the same
        gaps.append(f"model {row['model_name']} version {row['model_version']}: {error}".splitlines()[0])
        return None
    for name in ("data_digest", "code_digest", "commit"):
        released = served.versions.get(name) if served else None
        if released is not None and found.tags.get(name, "none") != released:
            gaps.append(f"{name}: the release says {released}, the run {found.tags.get(name, 'none')}")
    judged = verdict_of(settings, found)
    return Model(
        name=found.name,
        version=found.version,
        run_id=found.run_id,
        pins={name: found.tags[name] for name in PINS if name in found.tags},
        made_by={name: found.tags[name] for name in MADE_BY if name in found.tags},
        verdict=judged.verdict,
        verdict_digest=judged.digest,
    )


def _moves(settings: Settings, row: Mapping[str, Any], *, served_at: datetime) -> tuple[Move, ...]:
    """Moves that made this model's version champion before it answered; other models number theirs alike."""
    made = ledger(settings).moves(model=str(row["model_name"]), alias=registry.CHAMPION)
    return tuple(m for m in made if m.to_version == str(row["model_version"]) and m.at.astimezone(UTC) <= served_at)
