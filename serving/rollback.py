"""Rollback: the release before answers again, as one unit, and the ledger owes its model the alias."""

from dataclasses import dataclass
from pathlib import Path

from poplift import alias_moves
from poplift.ledger import Move
from poplift.registry import CHAMPION
from poplift.settings import Settings
from serving.pointer import PointerMovedError, point, read_pointer
from serving.release import ReleaseError, verify, versions_of


class NoPreviousReleaseError(ReleaseError):
    """There is no release before the one that answers."""


@dataclass(frozen=True)
class RolledBack:
    """What answers now, what answered before, and the move of the alias that is owed; None where it has not to move."""

    release_id: str
    taken_back: str
    owed: Move | None


def roll_back(settings: Settings, *, who: str, why: str, instead_of: str | None = None) -> RolledBack:
    """Put the previous release back; neither MLflow nor its database is asked, so none of them can be in the way.

    The alias must follow, or the next release step would put on again what was taken back: its move is written down
    before the pointer moves, and whoever looks at the alias next makes it. Where the alias is right as it is, only the
    policy changed, the pointer keeps what was taken back. With `instead_of` that release must be the one that
    answers. Raises NoPreviousReleaseError, PointerMovedError when another release answers than was asked for
    or seen, ReleaseError when the previous one does not verify, and JournalError; each time nothing has moved.
    """
    seen = read_pointer(settings.releases_dir)
    now, before = seen.get("id"), seen.get("previous")
    if now is None or before is None:
        raise NoPreviousReleaseError("there is no previous release to go back to")
    if instead_of not in (None, now):
        raise PointerMovedError(f"release {now} answers, not {instead_of}; nothing was rolled back")
    verify(settings.releases_dir / before)
    owed = _owe(settings, settings.releases_dir / before, who=who, why=why)
    try:
        point(settings.releases_dir, before, seen=seen, taken_back=None if owed else now)
    except (ReleaseError, OSError):
        if owed:
            alias_moves.drop(settings, owed)
        raise
    return RolledBack(before, now, owed)


def _owe(settings: Settings, folder: Path, *, who: str, why: str) -> Move | None:
    versions = versions_of(folder)
    if "model_version" not in versions:  # built from files that no registry knows
        return None
    model, version = str(versions["model_name"]), str(versions["model_version"])
    return alias_moves.owe(settings, model=model, alias=CHAMPION, version=version, who=who, why=why)
