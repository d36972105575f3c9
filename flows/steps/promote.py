"""Step: move the champion alias, and write every move into the ledger, also those made in the MLflow UI."""

import json
from functools import partial

from poplift import alias_moves, registry
from poplift.alias_moves import Judged, Wanted
from poplift.databases import exclusive
from poplift.ledger import PASSED, Ledger
from poplift.promotion import Live, missing
from poplift.registry import DEMAND, RegistryError, Version
from poplift.settings import Settings
from poplift.verdicts import DIGEST_TAG, LIVE, VerdictError, verified_verdict

CHAMPION_LOCK = alias_moves.LOCK
UNTRUSTED = "not trusted"  # in the place of the gate's word where its signature does not hold
SEEN, NOBODY = "seen", "none"  # words in the place of the version that a promoter expects


class NoChampionError(Exception):
    """No version is champion yet, so there is nothing to serve."""


class PromotionRefusedError(Exception):
    """The version has no passing verdict, or the command is not complete; the alias was not moved."""


def ledger(settings: Settings) -> Ledger:
    """The promotion ledger of these settings."""
    return alias_moves.ledger(settings)


def verdict_of(settings: Settings, version: Version) -> Judged:
    """The gate's word on a version and the hash of all it said: the one place where a promotion asks for it.

    A `pass` counts only with a signature that holds, on the very files of the version.
    """
    word = version.tags.get("gate")
    if word is None:
        return alias_moves.NOT_JUDGED
    if word != PASSED:
        return Judged(word, version.tags.get(DIGEST_TAG), version.tags.get("gate_reasons", "no reasons"))
    try:
        signed = verified_verdict(settings, version)
    except (VerdictError, RegistryError) as error:
        return Judged(UNTRUSTED, None, str(error))
    return Judged(signed.outcome, signed.sha256, "; ".join(signed.reasons))


def live_verdict_of(settings: Settings, version: Version) -> Live | None:
    """What the version's time beside a champion showed; None without any. One that is not sealed is not trusted."""
    if LIVE.outcome_tag not in version.tags:
        return None
    try:
        signed = verified_verdict(settings, version, LIVE)
    except (VerdictError, RegistryError) as error:
        return Live(Judged(UNTRUSTED, None, str(error)), "nobody knows what", None)
    judged = Judged(signed.outcome, signed.sha256, "; ".join(signed.reasons))
    return Live(judged, str(signed.record["stage"]), signed.champion)


def missing_of(settings: Settings, candidate: Version, *, champion: Version | None) -> str:
    """What a version lacks to take a champion's place; empty when nothing."""
    beside = champion.version if champion and champion.version != candidate.version else None
    judged, live = verdict_of(settings, candidate), live_verdict_of(settings, candidate)
    return missing(judged, live, needs=settings.promote_after, champion=beside)


def promote(
    settings: Settings,
    *,
    who: str,
    why: str,
    version: str | None = None,
    expected: str = SEEN,
    override: str | None = None,
) -> Version:
    """Make a version, by default the challenger, the champion; a passing verdict or a named `override` is needed.

    A version that did harm beside the champion needs the override too, and where the setting `promote_after` says so
    every version needs a pass from there. Without a champion there is nothing to stand beside, and the gate is enough.

    `expected` is the version that is believed to be champion: `seen` for the one there is when this is called, `none`
    for no champion. When another promoter was quicker nothing is moved: MovedMeanwhileError says who and why.
    """
    if expected == SEEN:
        now = registry.by_alias(settings, name=DEMAND, alias=registry.CHAMPION)
        expected = now.version if now else NOBODY
    with exclusive(settings, CHAMPION_LOCK):
        champion = _write_down(settings, registry.CHAMPION)
        candidate = _candidate(settings, version)
        lacks = missing_of(settings, candidate, champion=champion)
        if lacks and not ((override or "").strip() and why.strip()):
            raise PromotionRefusedError(
                f"model {DEMAND} version {candidate.version}: {lacks}; champion unchanged. A person may answer for "
                "it: poplift promote --override NAME --why REASON"
            )
        wanted = Wanted(
            to_version=candidate.version,
            expected=None if expected == NOBODY else expected,
            who=who,
            why=why,
            judged=verdict_of(settings, candidate),
            override=override if lacks else None,
            live=live.judged if (live := live_verdict_of(settings, candidate)) else None,
        )
        if champion is None or champion.version != candidate.version:
            alias_moves.move_alias(settings, model=DEMAND, alias=registry.CHAMPION, wanted=wanted)
        elif wanted.override and alias_moves.unverified(settings, model=DEMAND, alias=registry.CHAMPION):
            alias_moves.acknowledge(settings, model=DEMAND, alias=registry.CHAMPION, wanted=wanted)
    return candidate


def promote_if_new(settings: Settings, *, who: str, why: str) -> Version | None:
    """Promote a challenger that passed and was never champion; None when there is none or monitoring holds it.

    What was champion once and was taken back stays back until a person says otherwise.
    """
    challenger = registry.by_alias(settings, name=DEMAND, alias=registry.CHALLENGER)
    if challenger is None or monitoring_holds(settings):
        return None
    if missing_of(settings, challenger, champion=registry.by_alias(settings, name=DEMAND, alias=registry.CHAMPION)):
        return None
    if any(move.to_version == challenger.version for move in ledger(settings).moves(model=DEMAND)):
        return None
    return promote(settings, who=who, why=why, version=challenger.version)


def monitoring_holds(settings: Settings) -> bool:
    """Whether the last monitoring found something broken, or could not look; False before the first one."""
    page = settings.reports_dir / "monitoring.json"
    return page.exists() and bool(json.loads(page.read_text())["holds_promotion"])


def reconcile(settings: Settings) -> Version:
    """The champion of the registry, once the ledger tells the same of both aliases; NoChampionError without one.

    A move the ledger does not know, made in the UI say, is written down now. The caller holds the champion's lock.
    """
    champion = _write_down(settings, registry.CHAMPION)
    _write_down(settings, registry.CHALLENGER)
    if champion is None:
        raise NoChampionError(f"model {DEMAND} has no champion: run `poplift train`, or set the alias in the MLflow UI")
    return champion


def _write_down(settings: Settings, alias: str) -> Version | None:
    return alias_moves.reconcile(settings, model=DEMAND, alias=alias, judge=partial(verdict_of, settings))


def _candidate(settings: Settings, version: str | None) -> Version:
    if version is not None:
        return registry.by_number(settings, name=DEMAND, version=version)
    challenger = registry.by_alias(settings, name=DEMAND, alias=registry.CHALLENGER)
    if challenger is None:
        raise RegistryError(f"model {DEMAND} has no challenger: run `poplift train` first")
    return challenger
