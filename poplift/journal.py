"""Append-only JSON lines in which every line holds the hash of all lines before it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from poplift.atomic import sync

START = "0" * 64
LOCK_SECONDS = 60.0
PREVIOUS = "previous"


class JournalError(Exception):
    """A line could not be written; the message says where and what to do."""


@dataclass(frozen=True)
class Line:
    """One line: its number from 1, what it says (None: torn by a crash), and the hash of all lines up to it."""

    number: int
    record: Mapping[str, Any] | None
    digest: str


class Journal:
    """A file that processes append to one at a time; it needs no database and no server.

    The hash of line n is SHA-256 of the hash of line n-1 and the bytes of line n, and stands in line n+1 as
    `previous`: a line that is changed, taken out or put in contradicts the one after it. Lines without
    `previous` are from before there was a chain; the first one with it seals them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, Any]) -> Line:
        """Write one line and wait until it is on disk; on failure the file is as it was. Raises JournalError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path.with_name(f"{self.path.name}.lock"), timeout=LOCK_SECONDS):
                return self._append(record)
        except Timeout as error:
            raise JournalError(f"{self.path}: another process holds its lock for {LOCK_SECONDS:g} s") from error
        except OSError as error:
            raise JournalError(f"{self.path}: cannot be written ({error}); make room or mend the rights") from error

    def lines(self) -> list[Line]:
        """Every line, oldest first; no file has none."""
        return _lines(self._content())

    def faults(self) -> tuple[str, ...]:
        """What contradicts the chain, one sentence a place; nothing when it is as it was written."""
        content = self._content()
        found, before, chained, line = [], START, False, None
        for line in _lines(content):
            stated = None if line.record is None else line.record.get(PREVIOUS)
            if stated is not None and stated != before:
                found.append(
                    f"{self.path.name} line {line.number}: what stands before it is not what it was written after"
                )
            if stated is None and chained and line.record is not None:
                found.append(f"{self.path.name} line {line.number}: was not written by the platform, it has no hash")
            chained, before = chained or stated is not None, line.digest
        if line is not None and line.record is None and content.endswith(b"\n"):  # a crash leaves no end of line
            found.append(f"{self.path.name} line {line.number}: was changed, it cannot be read")
        return tuple(found)

    def _append(self, record: Mapping[str, Any]) -> Line:
        content = self._content()
        lines = _lines(content)
        before = lines[-1].digest if lines else START
        text = json.dumps({**record, PREVIOUS: before}, allow_nan=False).encode()
        # A line torn by a crash stays a line of its own.
        torn = b"\n" if content and not content.endswith(b"\n") else b""
        is_new = not self.path.exists()
        with self.path.open("ab", buffering=0) as file:
            try:
                _write_whole(file.fileno(), torn + text + b"\n")
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), len(content))
                raise
        if is_new:
            sync(self.path.parent)
        return Line(len(lines) + 1, {**record, PREVIOUS: before}, _next(before, text))

    def _content(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""


def _lines(content: bytes) -> list[Line]:
    lines: list[Line] = []
    digest = START
    for number, text in enumerate(content.removesuffix(b"\n").split(b"\n") if content else (), start=1):
        digest = _next(digest, text)
        lines.append(Line(number, _parsed(text), digest))
    return lines


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _next(before: str, text: bytes) -> str:
    return sha256(before.encode() + text).hexdigest()


def _write_whole(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
