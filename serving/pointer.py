"""The pointer file: which release answers, which one did before, and which challenger stands beside it.

Whoever changes it holds the lock of the releases folder, compares, and replaces the file as a whole.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from poplift.atomic import write_whole
from serving.release import ReleaseError, read_json

POINTER = "current"


class PointerMovedError(ReleaseError):
    """Another release answers than whoever wants to change that has seen; the message says which."""


@dataclass(frozen=True)
class Placed:
    """A challenger's release beside the champion's: the share of outlets it answers, and why it was stopped, if it was.

    With a share of 0 it answers nobody and works in the shadow only.
    """

    release_id: str
    share: float = 0.0
    stopped: str | None = None


def read_pointer(releases_dir: Path) -> dict[str, str | None]:
    """Ids of the `id` and `previous` release; empty when nothing was activated yet. Raises ReleaseError.

    `taken_back` is among them where a rollback left the champion's alias alone: the same model with another policy.
    """
    content = _content(releases_dir)
    if content is None:
        return {}
    path = releases_dir / POINTER
    ids = {"id": content.get("id"), "previous": content.get("previous")}
    if content.get("taken_back") is not None:
        ids["taken_back"] = content["taken_back"]
    for value in ids.values():
        if value is not None and not _is_id(value):
            raise ReleaseError(f"{path}: {value!r} is not the id of a release; activate one again")
    if ids["id"] is None:
        raise ReleaseError(f"{path}: names no release; activate one again")
    return ids


def read_challenger(releases_dir: Path) -> Placed | None:
    """The challenger beside the champion, a stopped one too; raises ReleaseError where the entry is none."""
    entry = (_content(releases_dir) or {}).get("challenger")
    if entry is None:
        return None
    try:
        placed = Placed(entry["id"], float(entry["share"]), entry.get("stopped"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReleaseError(f"{releases_dir / POINTER}: its challenger cannot be read; place it again") from error
    if not _is_id(placed.release_id) or not math.isfinite(placed.share) or not 0 <= placed.share <= 1:
        raise ReleaseError(f"{releases_dir / POINTER}: {entry!r} is no challenger; place it again")
    return placed


def point(
    releases_dir: Path,
    release_id: str,
    *,
    seen: Mapping[str, str | None] | None = None,
    taken_back: str | None = None,
) -> None:
    """Point to a release; nothing when that is so already. The challenger of the one before goes.

    With `seen`, the pointer as whoever asks has read it, raises PointerMovedError when it is another one by now.
    `taken_back` is kept beside it until the pointer moves again.
    """
    with _alone(releases_dir):
        pointer = read_pointer(releases_dir)
        if pointer.get("id") == release_id:
            return
        if seen is not None and pointer != seen:
            raise PointerMovedError(f"release {pointer.get('id')} answers by now, not {seen.get('id')}; look again")
        ids = {"id": release_id, "previous": pointer.get("id")}
        _write(releases_dir, ids if taken_back is None else {**ids, "taken_back": taken_back}, None)


def place(releases_dir: Path, placed: Placed, *, beside: str) -> None:
    """Put a challenger beside the champion `beside`, in the place of another one.

    Raises ReleaseError when another release answers by now, or the challenger itself.
    """
    with _alone(releases_dir):
        pointer = read_pointer(releases_dir)
        if pointer.get("id") != beside:
            raise ReleaseError(f"release {pointer.get('id')} answers, not {beside} as expected; look again")
        if placed.release_id == beside:
            raise ReleaseError(f"release {beside} answers already; a challenger is another one")
        _write(releases_dir, pointer, placed)


def stop(releases_dir: Path, release_id: str, *, why: str) -> bool:
    """Stop this challenger for everyone and keep why; False when it does not run any more."""
    with _alone(releases_dir):
        placed = read_challenger(releases_dir)
        if placed is None or placed.release_id != release_id or placed.stopped is not None:
            return False
        _write(releases_dir, read_pointer(releases_dir), Placed(release_id, placed.share, why))
        return True


def remove(releases_dir: Path, release_id: str) -> bool:
    """Take this challenger away; False when it is not there any more."""
    with _alone(releases_dir):
        placed = read_challenger(releases_dir)
        if placed is None or placed.release_id != release_id:
            return False
        _write(releases_dir, read_pointer(releases_dir), None)
        return True


def _alone(releases_dir: Path) -> FileLock:
    return FileLock(releases_dir / ".lock")


def _content(releases_dir: Path) -> dict[str, Any] | None:
    path = releases_dir / POINTER
    if not path.exists():
        return None
    content = read_json(path)
    return content if isinstance(content, dict) else {}


def _is_id(value: object) -> bool:
    return isinstance(value, str) and Path(value).name == value


def _write(releases_dir: Path, pointer: dict[str, str | None], placed: Placed | None) -> None:
    entry = placed and {"id": placed.release_id, "share": placed.share, "stopped": placed.stopped}
    write_whole(releases_dir / POINTER, json.dumps({**pointer, "challenger": entry}))
