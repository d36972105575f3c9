"""Moving an alias so that the ledger and MLflow tell the same story: announced, compared, moved, written down."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from poplift import registry
from poplift.clock import wall_now
from poplift.databases import exclusive
from poplift.ledger import Entry, Ledger, Move, State
from poplift.registry import Version
from poplift.settings import Settings

LOCK = "champion"  # of all aliases: a release is built while nobody moves one
LEDGER_TAG = "ledger"  # on the registered model: number and hash of the newest move, so that a cut-off end is seen
OUTSIDE = "mlflow"


class MovedMeanwhileError(Exception):
    """The alias does not point where whoever moves it believes; the message says who moved it, when and why."""


@dataclass(frozen=True)
class Judged:
    """What the gate said of a version: its word, the hash of its verdict where there is one, and why."""

    verdict: str
    digest: str | None = None
    reasons: str = "no reasons"


NOT_JUDGED = Judged("none")
Judge = Callable[[Version], Judged]


@dataclass(frozen=True)
class Wanted:
    """A move that somebody wants: to where (None: away), from where as far as they know, who, why, who answers for it.

    `judged` is the gate's word, `live` that of the version's time beside the champion, if it had one.
    """

    to_version: str | None
    expected: str | None
    who: str
    why: str
    judged: Judged
    override: str | None = None
    live: Judged | None = None


def ledger(settings: Settings) -> Ledger:
    """The ledger of these settings; it needs nothing but its file."""
    return Ledger(settings.ledger_path)


def move_alias(settings: Settings, *, model: str, alias: str, wanted: Wanted) -> None:
    """Move an alias that points where `wanted` expects, and write it down; the caller holds the alias's lock.

    MLflow has no compare-and-set, so every mover of the platform compares under one lock. A move that is cut off by
    a crash was announced before: `reconcile` finds out whether it happened. Raises MovedMeanwhileError.
    """
    book = ledger(settings)
    before = registry.by_alias(settings, name=model, alias=alias)
    points_to = before.version if before else None
    if points_to != wanted.expected:
        raise MovedMeanwhileError(_told(book, model=model, alias=alias, points_to=points_to, wanted=wanted))
    finish(settings, announce(settings, model=model, alias=alias, wanted=wanted))


def point(settings: Settings, *, model: str, alias: str, version: str, who: str, why: str, judged: Judged) -> None:
    """Move an alias from wherever it is, under its lock, and write it down: for one that only one flow moves."""
    with exclusive(settings, LOCK):
        now = registry.by_alias(settings, name=model, alias=alias)
        wanted = Wanted(version, now.version if now else None, who, why, judged)
        move_alias(settings, model=model, alias=alias, wanted=wanted)


def owe(settings: Settings, *, model: str, alias: str, version: str, who: str, why: str) -> Move | None:
    """Write down, without MLflow, that an alias has to follow serving to a version; None when it points there.

    `reconcile` makes the move. It carries what the gate said when the version was there before.
    """
    moves = ledger(settings).moves(model=model, alias=alias)
    points_to = moves[-1].to_version if moves else None
    if points_to == version:
        return None
    before = next((move for move in reversed(moves) if move.to_version == version), None)
    judged = Judged(before.verdict, before.verdict_digest) if before else NOT_JUDGED
    wanted = Wanted(version, points_to, who, why, judged, override=before.override if before else None)
    return announce(settings, model=model, alias=alias, wanted=wanted, state="owed")


def announce(settings: Settings, *, model: str, alias: str, wanted: Wanted, state: State = "intended") -> Move:
    """Write down that a move is about to be made; an `owed` one is made by `reconcile`, sooner or later."""
    move = Move(
        model=model,
        alias=alias,
        from_version=wanted.expected,
        to_version=wanted.to_version,
        who=wanted.who,
        why=wanted.why,
        verdict=wanted.judged.verdict,
        verdict_digest=wanted.judged.digest,
        override=wanted.override,
        live=wanted.live.verdict if wanted.live else None,
        live_digest=wanted.live.digest if wanted.live else None,
        at=wall_now(),
        state=state,
    )
    ledger(settings).append(move)
    return move


def acknowledge(settings: Settings, *, model: str, alias: str, wanted: Wanted) -> None:
    """Write down that a named person answers for where an alias points to already."""
    announced = announce(settings, model=model, alias=alias, wanted=replace(wanted, expected=wanted.to_version))
    _written(settings, replace(announced, state="moved", at=wall_now()))


def reconcile(settings: Settings, *, model: str, alias: str, judge: Judge) -> Version | None:
    """Where an alias points to in MLflow, after the ledger says so too; the caller holds the alias's lock.

    An announced move that happened is completed, one that did not is dropped, or made now when it is owed: a
    rollback that was served while MLflow was down. Whatever else is found was moved outside the platform.
    """
    book = ledger(settings)
    now = registry.by_alias(settings, name=model, alias=alias)
    points_to = now.version if now else None
    intent = book.open_intent(model=model, alias=alias)
    if intent is not None:
        if intent.state == "owed" and intent.to_version is not None and points_to == intent.from_version:
            registry.set_alias(settings, name=model, alias=alias, version=intent.to_version)
            now = registry.by_alias(settings, name=model, alias=alias)
            points_to = now.version if now else None
        if points_to == intent.to_version:
            _written(settings, replace(intent, state="moved", at=wall_now()))
        else:
            book.append(replace(intent, state="dropped", at=wall_now()))
    known = _last(book, model=model, alias=alias)
    if known != points_to:
        judged = judge(now) if now else NOT_JUDGED
        move = Move(
            model=model,
            alias=alias,
            from_version=known,
            to_version=points_to,
            who=OUTSIDE,
            why="moved outside poplift, in MLflow itself; the time is when it was noticed",
            verdict=judged.verdict,
            verdict_digest=judged.digest,
            at=wall_now(),
        )
        _written(settings, move)
    return now


def drop(settings: Settings, announced: Move) -> None:
    """Write down that an announced move will not be made."""
    ledger(settings).append(replace(announced, state="dropped", at=wall_now()))


def finish(settings: Settings, announced: Move) -> None:
    """Make an announced move and write it down; the caller holds the alias's lock."""
    if announced.to_version is None:
        registry.delete_alias(settings, name=announced.model, alias=announced.alias)
    else:
        registry.set_alias(settings, name=announced.model, alias=announced.alias, version=announced.to_version)
    _written(settings, replace(announced, state="moved", at=wall_now()))


def unverified(settings: Settings, *, model: str, alias: str) -> Move | None:
    """The move that made an alias what it is, when the gate did not pass it and nobody answers for it."""
    moves = ledger(settings).moves(model=model, alias=alias)
    return moves[-1] if moves and not moves[-1].is_verified else None


def faults(settings: Settings, *, model: str, aliases: tuple[str, ...]) -> tuple[str, ...]:
    """What contradicts the ledger: in its own chain, and in MLflow, which keeps the hash of the newest move.

    Raises what MLflow raises when it does not answer.
    """
    book = ledger(settings)
    found = list(book.faults())
    for alias in aliases:
        now = registry.by_alias(settings, name=model, alias=alias)
        known, points_to = _last(book, model=model, alias=alias), now.version if now else None
        if known != points_to:
            found.append(f"{model} {alias}: MLflow says version {points_to or 'none'}, the ledger {known or 'none'}")
    tag = registry.model_tag(settings, name=model, key=LEDGER_TAG)
    if tag is not None:
        number, _, digest = tag.partition(":")
        line = next((e for e in book.entries() if str(e.number) == number), None)
        if line is None or line.digest != digest:
            where = f"line {number} is not there" if line is None else f"line {number} is another one"
            found.append(f"MLflow remembers a ledger of at least {number} lines with another end: {where}")
    return tuple(found)


def _written(settings: Settings, move: Move) -> None:
    entry: Entry = ledger(settings).append(move)
    if move.to_version is not None:  # the model itself may be gone
        registry.set_model_tag(settings, name=move.model, key=LEDGER_TAG, value=f"{entry.number}:{entry.digest}")


def _last(book: Ledger, *, model: str, alias: str) -> str | None:
    moves = book.moves(model=model, alias=alias)
    return moves[-1].to_version if moves else None


def _told(book: Ledger, *, model: str, alias: str, points_to: str | None, wanted: Wanted) -> str:
    last = book.moves(model=model, alias=alias)[-1:]
    how = "nothing is known of how"
    if last and last[0].to_version == points_to:
        move = last[0]
        how = f"{move.who} moved it from {move.from_version or 'none'} at {move.at:%F %R} UTC: {move.why}"
    return (
        f"model {model}: {alias} is version {points_to or 'none'}, not {wanted.expected or 'none'} as {wanted.who} "
        f"expected; {how}. Nothing was moved: look at both versions and promote again"
    )
