"""Answers of the last day by idempotency key, where every process of the API on this machine finds them."""

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

KEPT_SECONDS = 86_400.0
LEASE_SECONDS = 60.0  # a process that died while it answered keeps a key no longer
MOST_ANSWERS = 10_000
MOST_BYTES = 64 * 1024 * 1024
LARGEST_ANSWER = 1024 * 1024
BUSY_SECONDS = 2.0
_PRUNED_EVERY = 16
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    client TEXT, key TEXT, fingerprint TEXT NOT NULL, at REAL NOT NULL,
    status INTEGER, body BLOB, size INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (client, key)
);
CREATE INDEX IF NOT EXISTS by_age ON answers (at, size);
"""
_FORGET = """
DELETE FROM answers WHERE rowid IN (
    SELECT rowid FROM (
        SELECT rowid, count(*) OVER newest AS n, sum(size) OVER newest AS bytes
        FROM answers WINDOW newest AS (ORDER BY at DESC, rowid)
    ) WHERE n > ? OR bytes > ?
)
"""


@dataclass(frozen=True)
class KeptAnswer:
    """What was answered the first time."""

    status: int
    body: bytes


class KeyInUseError(Exception):
    """The first request with this key is still being answered."""


class OtherRequestError(Exception):
    """The key was used for another request."""


class RememberedAnswers:
    """One SQLite file; raises sqlite3.Error and OSError where it cannot be used."""

    def __init__(self, path: Path, *, now: Callable[[], float]) -> None:
        self._path, self._now = path, now
        self._kept = 0

    def claim(self, client: str, key: str, fingerprint: str) -> KeptAnswer | None:
        """The answer to this key, or None: the caller answers and must `keep` or `release`.

        Raises KeyInUseError and OtherRequestError.
        """
        now = self._now()
        with self._changing() as db:
            row = db.execute(
                "SELECT fingerprint, at, status, body FROM answers WHERE client = ? AND key = ?", (client, key)
            ).fetchone()
            if row is not None and row[1] > now - KEPT_SECONDS:
                if row[0] != fingerprint:
                    raise OtherRequestError
                if row[2] is not None:
                    return KeptAnswer(row[2], row[3])
                if row[1] > now - LEASE_SECONDS:
                    raise KeyInUseError
            db.execute(
                "INSERT OR REPLACE INTO answers (client, key, fingerprint, at) VALUES (?, ?, ?, ?)",
                (client, key, fingerprint, now),
            )
        return None

    def keep(self, client: str, key: str, answer: KeptAnswer) -> None:
        """Keep an answer for a day, or until there are too many; one that is too large is not kept."""
        if len(answer.body) > LARGEST_ANSWER:
            self.release(client, key)
            return
        with self._changing() as db:
            db.execute(
                "UPDATE answers SET status = ?, body = ?, size = ? WHERE client = ? AND key = ?",
                (answer.status, answer.body, len(answer.body), client, key),
            )
            self._kept += 1
            if self._kept % _PRUNED_EVERY == 0:
                self._prune(db)

    def release(self, client: str, key: str) -> None:
        """Give a claimed key back: nothing was answered that would be worth repeating."""
        with self._changing() as db:
            db.execute("DELETE FROM answers WHERE client = ? AND key = ? AND status IS NULL", (client, key))

    def _prune(self, db: sqlite3.Connection) -> None:
        """Forget what is older than a day, and the oldest beyond what may be kept."""
        db.execute("DELETE FROM answers WHERE at < ?", (self._now() - KEPT_SECONDS,))
        db.execute(_FORGET, (MOST_ANSWERS, MOST_BYTES))

    def _create(self) -> None:
        """Make the file and then give it its name, so that no other process finds half of it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}")
        db = sqlite3.connect(part)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_TABLE)
        finally:
            db.close()
        with suppress(FileExistsError):  # another process was first
            self._path.hardlink_to(part)
        part.unlink()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        if not self._path.exists():
            self._create()
        db = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        finally:
            db.close()
