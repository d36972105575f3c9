"""Append-only record of every move of a model alias: from, to, who, when, why, and on which verdict."""

from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from poplift.journal import Journal, Line

State = Literal["intended", "owed", "moved", "dropped"]
PASSED = "pass"


@dataclass(frozen=True)
class Move:
    """One move of an alias; `to_version` is what it points to afterwards, None when it was taken away.

    `verdict` is the gate's word or `none`, `verdict_digest` the hash of what it said, `override` the name of whoever
    answers for moving without a passing one. `live` and `live_digest` say the same of its time beside the champion, if
    any. `state`: announced (`intended`; `owed` when serving went ahead and the alias must follow), made, or dropped.
    """

    model: str
    alias: str
    from_version: str | None
    to_version: str | None
    who: str
    why: str
    verdict: str
    at: datetime
    verdict_digest: str | None = None
    override: str | None = None
    live: str | None = None
    live_digest: str | None = None
    state: State = "moved"

    @property
    def is_verified(self) -> bool:
        """Whether the gate passed the version, or a named person answers for it."""
        return self.to_version is None or self.verdict == PASSED or self.override is not None


@dataclass(frozen=True)
class Entry:
    """One line of the ledger that is a move, with its number and the hash of the ledger up to it."""

    number: int
    digest: str
    move: Move


class Ledger:
    """A hash-chained file that is only ever appended to, whatever else is down."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)

    def append(self, move: Move) -> Entry:
        """Write one move and wait until it is on disk; raises JournalError."""
        line = self._journal.append({**asdict(move), "at": move.at.isoformat()})
        return Entry(line.number, line.digest, move)

    def entries(self) -> list[Entry]:
        """Every line that is a move, announced ones too, oldest first."""
        return [Entry(line.number, line.digest, move) for line, move in self._read() if move is not None]

    def moves(self, *, model: str, alias: str = "champion") -> list[Move]:
        """The moves of one alias that were made, oldest first."""
        found = [entry.move for entry in self.entries()]
        return [m for m in found if (m.model, m.alias, m.state) == (model, alias, "moved")]

    def open_intent(self, *, model: str, alias: str) -> Move | None:
        """The move that was announced last of those of which nothing is known since.

        A rollback announces its move whoever else is moving the alias, so what ends a move need not be the next line.
        """
        waiting: list[Move] = []
        for move in (e.move for e in self.entries() if (e.move.model, e.move.alias) == (model, alias)):
            if move.state in {"intended", "owed"}:
                waiting.append(move)
            else:
                waiting = [announced for announced in waiting if not _is_end_of(move, announced)]
        return waiting[-1] if waiting else None

    def faults(self) -> tuple[str, ...]:
        """What contradicts the chain, and lines that are whole and yet no move."""
        strange = [
            f"ledger line {line.number}: is no move of an alias"
            for line, move in self._read()
            if move is None and line.record is not None
        ]
        return (*self._journal.faults(), *strange)

    def _read(self) -> list[tuple[Line, Move | None]]:
        return [(line, _move(line)) for line in self._journal.lines()]


def _is_end_of(move: Move, announced: Move) -> bool:
    """Whether this line says what became of that one; it differs in nothing but its time and state."""
    return replace(announced, state=move.state, at=move.at) == move


def _move(line: Line) -> Move | None:
    if line.record is None:
        return None
    known = {field.name for field in fields(Move)}
    try:
        values = {name: value for name, value in line.record.items() if name in known}
        return Move(**{**values, "at": datetime.fromisoformat(values["at"])})
    except (KeyError, TypeError, ValueError):
        return None
