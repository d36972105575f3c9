"""Append-only record of every move of a model alias: from, to, who, when, why, and on which verdict."""

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Move:
    """One move of an alias; `to_version` is what it points to afterwards, `verdict` the gate's word or `none`."""

    model: str
    alias: str
    from_version: str | None
    to_version: str
    who: str
    why: str
    verdict: str
    at: datetime


class Ledger:
    """A JSON-lines file that is only ever appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, move: Move) -> None:
        """Write one move and wait until it is on disk."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({**asdict(move), "at": move.at.isoformat()}).encode() + b"\n"
        with self._path.open("a+b") as file:
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                line = b"\n" + line  # a line torn by a crash stays a line of its own
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def moves(self, *, model: str, alias: str = "champion") -> list[Move]:
        """The moves of one alias, oldest first; a line torn by a crash was never finished and is not a move."""
        if not self._path.exists():
            return []
        moves = []
        for line in self._path.read_text().splitlines():
            try:
                stored = json.loads(line)
            except json.JSONDecodeError:
                continue
            move = Move(**{**stored, "at": datetime.fromisoformat(stored["at"])})
            if (move.model, move.alias) == (model, alias):
                moves.append(move)
        return moves
