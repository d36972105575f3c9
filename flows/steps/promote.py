"""Step: move the champion alias, and write every move into the ledger, also those made in the MLflow UI."""

import json

from flows.steps.train import MODEL
from poplift import registry
from poplift.clock import wall_now
from poplift.databases import exclusive
from poplift.ledger import Ledger, Move
from poplift.registry import RegistryError, Version
from poplift.settings import Settings

CHAMPION_LOCK = "champion"


class NoChampionError(Exception):
    """No version is champion yet, so there is nothing to serve."""


class PromotionRefusedError(Exception):
    """The version has no passing verdict; the alias was not moved."""


def ledger(settings: Settings) -> Ledger:
    """The promotion ledger of these settings."""
    return Ledger(settings.home / "ledger.jsonl")


def promote(settings: Settings, *, who: str, why: str) -> Version:
    """Make the challenger the champion; refused without a passing verdict of the gate on its version."""
    with exclusive(settings, CHAMPION_LOCK):
        challenger = registry.by_alias(settings, name=MODEL, alias=registry.CHALLENGER)
        if challenger is None:
            raise RegistryError(f"model {MODEL} has no challenger: run `poplift train` first")
        verdict = challenger.tags.get("gate", "none")
        if verdict != "pass":
            raise PromotionRefusedError(
                f"model {MODEL} version {challenger.version}: the gate's verdict is {verdict!r}, not 'pass' "
                f"({challenger.tags.get('gate_reasons', 'no reasons')}); champion unchanged"
            )
        move_champion(settings, version=challenger.version, who=who, why=why)
    return challenger


def promote_if_new(settings: Settings, *, who: str, why: str) -> Version | None:
    """Promote a challenger that passed and was never champion; None when there is none or monitoring holds it.

    What was champion once and was taken back stays back until a person says otherwise.
    """
    challenger = registry.by_alias(settings, name=MODEL, alias=registry.CHALLENGER)
    if challenger is None or challenger.tags.get("gate") != "pass" or monitoring_holds(settings):
        return None
    if any(move.to_version == challenger.version for move in ledger(settings).moves(model=MODEL)):
        return None
    return promote(settings, who=who, why=why)


def monitoring_holds(settings: Settings) -> bool:
    """Whether the last monitoring found something broken, or could not look; False before the first one."""
    page = settings.reports_dir / "monitoring.json"
    return page.exists() and bool(json.loads(page.read_text())["holds_promotion"])


def move_champion(settings: Settings, *, version: str, who: str, why: str) -> None:
    """Point the alias `champion` to a version and write it down; nothing when it points there already."""
    before = registry.by_alias(settings, name=MODEL, alias=registry.CHAMPION)
    if before is not None and before.version == version:
        return
    registry.set_alias(settings, name=MODEL, alias=registry.CHAMPION, version=version)
    after = registry.by_alias(settings, name=MODEL, alias=registry.CHAMPION)
    if after is not None:
        _record(settings, before, after, who=who, why=why)


def reconcile(settings: Settings) -> Version:
    """The champion of the registry; a move the ledger does not know, made in the UI say, is written down now."""
    champion = registry.by_alias(settings, name=MODEL, alias=registry.CHAMPION)
    if champion is None:
        raise NoChampionError(f"model {MODEL} has no champion: run `poplift train`, or set the alias in the MLflow UI")
    moves = ledger(settings).moves(model=MODEL)
    if not moves or moves[-1].to_version != champion.version:
        before = moves[-1].to_version if moves else None
        _record(settings, before, champion, who="mlflow", why="alias moved outside poplift, seen by the release step")
    return champion


def _record(settings: Settings, before: Version | str | None, after: Version, *, who: str, why: str) -> None:
    from_version = before.version if isinstance(before, Version) else before
    ledger(settings).append(
        Move(
            model=MODEL,
            alias=registry.CHAMPION,
            from_version=from_version,
            to_version=after.version,
            who=who,
            why=why,
            verdict=after.tags.get("gate", "none"),
            at=wall_now(),
        )
    )
