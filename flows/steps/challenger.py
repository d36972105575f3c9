"""Step: put a challenger beside the champion, compare, judge, and take it away again when it does harm."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from flows.steps.outcomes import realised
from flows.steps.progress import Progress, silent
from flows.steps.promote import CHAMPION_LOCK, PromotionRefusedError, reconcile, verdict_of
from flows.steps.release import build_release
from monitoring.challenger import Judgement, compare
from monitoring.challenger import judge as judge_comparison
from monitoring.outcomes import decided_weeks
from monitoring.pairs import answered_twice
from poplift import alias_moves, registry, verdicts
from poplift.alias_moves import Judged, Wanted
from poplift.clock import wall_now
from poplift.code_version import commit, source_digest
from poplift.databases import exclusive
from poplift.journal import Journal
from poplift.ledger import PASSED
from poplift.registry import CHALLENGER, DEMAND, RegistryError, Version
from poplift.settings import Settings
from poplift.verdicts import LIVE, SignedVerdict
from serving import pointer, release
from serving.pointer import Placed
from serving.release import ReleaseError

JUDGED_BY = ("poplift", "monitoring", "serving")
NOT_MODEL = (release.POLICY, release.GOLDEN)  # files of a release that are not the version's
STOP = "stop"


class NoChallengerError(Exception):
    """No challenger stands beside the champion, so there is nothing to show, to judge or to stop."""


@dataclass(frozen=True)
class Beside:
    """A challenger beside the champion as of now: where it stands, and what a look at it says."""

    placed: Placed
    version: str
    champion_release: str
    champion_version: str
    judgement: Judgement

    @property
    def stage(self) -> str:
        """`canary` where it answers outlets, else `shadow`."""
        return "canary" if self.placed.share > 0 else "shadow"


@dataclass(frozen=True)
class Ended:
    """A look that was written down: what it says, the seal, and whether it took the challenger away."""

    beside: Beside
    signed: SignedVerdict
    is_demoted: bool


def place(settings: Settings, progress: Progress = silent, *, share: float, who: str, why: str) -> Placed:
    """Build the challenger's release and put it beside the champion's; a share of 0 is the shadow.

    A canary answers people, so it needs the gate's pass. Raises RegistryError without a challenger, or where it is the
    champion: under another policy its release would be another one, and be compared with itself.
    """
    with exclusive(settings, CHAMPION_LOCK):
        now = reconcile(settings)
        challenger = registry.by_alias(settings, name=DEMAND, alias=CHALLENGER)
        if challenger is None:
            raise RegistryError(f"model {DEMAND} has no challenger: run `poplift train` first")
        if challenger.version == now.version:
            raise RegistryError(
                f"model {DEMAND} version {now.version} is champion already; a challenger is another one"
            )
        judged = verdict_of(settings, challenger)
        if share > 0 and judged.verdict != PASSED:
            raise PromotionRefusedError(
                f"model {DEMAND} version {challenger.version}: the gate's verdict is {judged.verdict!r}, not 'pass' "
                f"({judged.reasons}), so it answers no outlet; the shadow is open to it: poplift challenger shadow"
            )
        champion = pointer.read_pointer(settings.releases_dir).get("id")
        if champion is None:
            raise ReleaseError(f"{settings.releases_dir}: no release was activated yet; run `poplift release`")
        progress("building and verifying")
        with registry.model_files(settings, challenger) as folder:
            built = build_release(settings, challenger, folder)
        placed = Placed(built.id, share)
        pointer.place(settings.releases_dir, placed, beside=champion)
        _note(settings, "placed", who=who, why=why, version=challenger.version, placed=placed, champion=champion)
    return placed


def place_if_wanted(settings: Settings, progress: Progress = silent, *, who: str) -> Placed | None:
    """Put a new challenger into the shadow where promotions need that and nothing stands beside the champion.

    A canary answers people, so it is always a person who starts it.
    """
    if settings.promote_after == "gate" or pointer.read_challenger(settings.releases_dir) is not None:
        return None
    found = {name: registry.by_alias(settings, name=DEMAND, alias=name) for name in (registry.CHAMPION, CHALLENGER)}
    challenger, champion = found[CHALLENGER], found[registry.CHAMPION]
    if challenger is None or champion is None or challenger.version == champion.version:
        return None
    return place(settings, progress, share=0.0, who=who, why="promotions need to have seen it beside the champion")


def look(settings: Settings, progress: Progress = silent) -> Beside:
    """What is known of the challenger now; writes nothing. Raises NoChallengerError."""
    placed = pointer.read_challenger(settings.releases_dir)
    champion = pointer.read_pointer(settings.releases_dir).get("id")
    if placed is None or champion is None:
        raise NoChallengerError("no challenger stands beside the champion; run `poplift challenger shadow` to start")
    as_of = settings.now()
    progress("sales of the decided weeks")
    weeks = decided_weeks(settings.decisions_dir, as_of=as_of)
    sold = realised(settings, as_of=as_of, first_day=weeks[0]) if weeks else None
    progress("answers of both")
    pairs = answered_twice(
        settings.decisions_dir, champion=champion, challenger=placed.release_id, realised=sold, as_of=as_of
    )
    return Beside(
        placed=placed,
        version=_version(settings, placed.release_id),
        champion_release=champion,
        champion_version=_version(settings, champion),
        judgement=judge_comparison(compare(pairs), stopped=placed.stopped, is_canary=placed.share > 0),
    )


def judge(settings: Settings, progress: Progress = silent, *, who: str = "poplift") -> Ended:
    """Look, seal what it says and keep it with the version; one that does harm is stopped and demoted.

    Serving goes back first, then the alias `challenger` goes away and the ledger says why. While MLflow is down the
    challenger stays stopped, and the next look does what is left to do. Raises NoChallengerError.
    """
    beside = look(settings, progress)
    harmful = beside.judgement.outcome == STOP
    if harmful:
        pointer.stop(settings.releases_dir, beside.placed.release_id, why="; ".join(beside.judgement.reasons))
    progress("keeping the verdict")
    version = registry.by_number(settings, name=DEMAND, version=beside.version)
    signed = _seal(settings, beside, as_of=settings.now())
    tags = {**signed.tags(LIVE), "live_reasons": "; ".join(signed.reasons)[:500]}
    registry.attach(settings, version, artifact=LIVE.artifact, text=signed.to_json(), tags=tags)
    if harmful:
        _demote(settings, version, beside.placed, signed, who=who)
    return Ended(beside, signed, harmful)


def settle(settings: Settings, progress: Progress = silent) -> Ended | None:
    """Write down that serving stopped a challenger, if it did."""
    placed = pointer.read_challenger(settings.releases_dir)
    return judge(settings, progress, who="serving") if placed is not None and placed.stopped is not None else None


def take_away(settings: Settings, *, who: str, why: str) -> Placed:
    """End shadow or canary by hand, without a verdict; the alias stays. Raises NoChallengerError."""
    placed = pointer.read_challenger(settings.releases_dir)
    if placed is None or not pointer.remove(settings.releases_dir, placed.release_id):
        raise NoChallengerError("no challenger stands beside the champion; there is nothing to stop")
    _note(settings, "taken away", who=who, why=why, version=_version(settings, placed.release_id), placed=placed)
    return placed


def journal(settings: Settings) -> Journal:
    """One line for each time a challenger was placed or taken away by hand, or demoted."""
    return Journal(settings.home / "challenger.jsonl")


def _demote(settings: Settings, version: Version, placed: Placed, signed: SignedVerdict, *, who: str) -> None:
    why = f"stopped: {'; '.join(signed.reasons)}"[:1000]
    with exclusive(settings, CHAMPION_LOCK):
        now = registry.by_alias(settings, name=DEMAND, alias=CHALLENGER)
        if now is not None and now.version == version.version:  # else a newer one is challenger already
            gate = verdict_of(settings, version)
            live = Judged(signed.outcome, signed.sha256, "; ".join(signed.reasons))
            wanted = Wanted(None, version.version, who, why, gate, live=live)
            alias_moves.move_alias(settings, model=DEMAND, alias=CHALLENGER, wanted=wanted)
        pointer.remove(settings.releases_dir, placed.release_id)
        _note(settings, "demoted", who=who, why=why, version=version.version, placed=placed)


def _seal(settings: Settings, beside: Beside, *, as_of: datetime) -> SignedVerdict:
    manifest = _manifest(settings, beside.placed.release_id)
    record: dict[str, Any] = {
        "model": DEMAND,
        "outcome": beside.judgement.outcome,
        "reasons": list(beside.judgement.reasons),
        "files": {name: digest for name, digest in manifest["content"]["files"].items() if name not in NOT_MODEL},
        "champion": beside.champion_version,
        "champion_release": beside.champion_release,
        "release": beside.placed.release_id,
        "stage": beside.stage,
        "share": beside.placed.share,
        "figures": beside.judgement.figures(),
        "as_of": as_of.isoformat(),
        "judged_at": wall_now().isoformat(),
        "code": {"digest": source_digest(JUDGED_BY), "commit": commit()},
    }
    return verdicts.sign(record, key=settings.verdict_key.get_secret_value())


def _manifest(settings: Settings, release_id: str) -> Any:
    return release.read_json(settings.releases_dir / release_id / release.MANIFEST)


def _version(settings: Settings, release_id: str) -> str:
    return str(release.versions_of(settings.releases_dir / release_id).get("model_version", "unknown"))


def _note(settings: Settings, what: str, *, placed: Placed, **more: str) -> None:
    journal(settings).append({"what": what, **asdict(placed), **more, "at": wall_now().isoformat()})
