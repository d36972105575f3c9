"""Keys of clients: one file of their hashes, which every process of the API follows; a key is shown once."""

import hashlib
import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog
from filelock import FileLock

from poplift.atomic import write_whole
from serving.access.roles import AccessError, Client, Role

PREFIX = "poplift"
LOOK_SECONDS = 1.0  # a revoked key stops after at most this long
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}")
_NOBODY = "0" * 64

log = structlog.get_logger()


@dataclass(frozen=True)
class ApiKey:
    """What is kept of a key: never the key. It has 256 random bits, so one round of SHA-256 hides it."""

    id: str
    name: str
    roles: tuple[str, ...]
    sha256: str
    made_at: str
    revoked_at: str | None = None


class ApiKeys:
    """The keys of one home; makes and revokes them, and finds the client of one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "keys.json"
        self._lock = threading.Lock()
        self._looked, self._seen = -LOOK_SECONDS, (0, 0, 0)
        self._keys: Mapping[str, ApiKey] = {}

    def create(self, name: str, roles: Iterable[Role], *, at: datetime) -> str:
        """Make a key and return it; only its hash is kept. Raises AccessError."""
        wanted = tuple(sorted({role.value for role in roles}))
        if not _NAME.fullmatch(name):
            raise AccessError(f"{name!r}: a client's name has 1 to 64 letters, digits, spaces or any of . _ @ -")
        if not wanted:
            raise AccessError(f"a key needs a role: {', '.join(Role)}")
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        key = f"{PREFIX}_{key_id}_{secret}"
        made = ApiKey(key_id, name, wanted, _hash(key), at.astimezone(UTC).isoformat(timespec="seconds"))
        with self._changing() as keys:
            if any(k.name == name and k.revoked_at is None for k in keys.values()):
                raise AccessError(f"{name!r} has a key: revoke it first, or name this one differently")
            keys[key_id] = made
        return key

    def revoke(self, key_id: str, *, at: datetime) -> ApiKey:
        """Take a key back; every process of the API stops to accept it within seconds. Raises AccessError."""
        with self._changing() as keys:
            if key_id not in keys:
                raise AccessError(f"{key_id!r} is not the id of a key: `poplift keys list` shows them")
            if keys[key_id].revoked_at is None:
                keys[key_id] = replace(keys[key_id], revoked_at=at.astimezone(UTC).isoformat(timespec="seconds"))
            return keys[key_id]

    def all(self) -> list[ApiKey]:
        """Every key ever made, the oldest first; raises AccessError where the file cannot be read."""
        return list(_read(self._path).values())

    def client(self, key: str) -> Client | None:
        """Whose key this is; None for one that is unknown or revoked. Takes as long for one as for the other."""
        found = self._current().get(key.split("_", 2)[1] if key.count("_") > 1 else "")
        is_same = hmac.compare_digest(_hash(key), found.sha256 if found else _NOBODY)
        if not is_same or found is None or found.revoked_at is not None:
            return None
        return Client(found.name, frozenset(found.roles))

    def _current(self) -> Mapping[str, ApiKey]:
        """The keys as the file had them at most a second ago; none where it cannot be read."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked < LOOK_SECONDS:
                return self._keys
            self._looked = now
            try:
                seen = _state(self._path)
                if seen != self._seen:
                    self._seen, self._keys = seen, _read(self._path)
            except AccessError as error:
                self._keys = {}
                log.error("keys_unreadable", cause=str(error))  # noqa: TRY400 - the cause says it
            return self._keys

    @contextmanager
    def _changing(self) -> Iterator[dict[str, ApiKey]]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._path.with_name(".lock"), timeout=10):
            keys = _read(self._path)
            yield keys
            write_whole(self._path, json.dumps({"keys": [asdict(k) for k in keys.values()]}, indent=1))


def _state(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return 0, 0, 0
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _read(path: Path) -> dict[str, ApiKey]:
    try:
        rows = json.loads(path.read_text())["keys"]
        keys = [ApiKey(**{**row, "roles": tuple(row["roles"])}) for row in rows]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AccessError(
            f"{path}: cannot be read ({type(error).__name__}); restore it, or delete it to begin anew"
        ) from error
    return {key.id: key for key in keys}


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
