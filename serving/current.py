"""Which release is served: activation, and the last good release in memory."""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from serving.pointer import point, read_pointer
from serving.policy import Policy
from serving.release import LoadedRelease, ReleaseError, load, verify

RETRY_SECONDS = 30.0


def activate(release_id: str, *, releases_dir: Path, seen: Mapping[str, str | None] | None = None) -> None:
    """Verify a release and point `current` at it in one atomic step; the one before becomes `previous`.

    A challenger that stood beside the one before does so no more. With `seen` nothing is moved when the pointer is
    another one by now: PointerMovedError.
    """
    verify(releases_dir / release_id)
    point(releases_dir, release_id, seen=seen)


def load_current(releases_dir: Path) -> LoadedRelease:
    """The activated release, verified and in memory: for whoever works beside the API. Raises ReleaseError."""
    release_id = read_pointer(releases_dir).get("id")
    if release_id is None:
        raise ReleaseError(f"{releases_dir}: no release was activated yet; run `poplift release`")
    return load(releases_dir / release_id)


def current_policy(releases_dir: Path) -> Policy | None:
    """The policy of the activated release, None before the first one was; raises ReleaseError."""
    return load_current(releases_dir).policy if read_pointer(releases_dir) else None


class CurrentRelease:
    """The release that answers requests: swapped only for one that verified, else the last good one stays."""

    def __init__(
        self, releases_dir: Path, *, on_error: Callable[[str], None], on_swap: Callable[[LoadedRelease], None]
    ) -> None:
        self._releases_dir = releases_dir
        self._on_error = on_error
        self._on_swap = on_swap
        self._lock = threading.Lock()
        self._loaded: LoadedRelease | None = None
        self._refused: tuple[str | None, float] = (None, 0.0)
        self.error: str | None = None

    def get(self) -> LoadedRelease | None:
        """The release of this moment; a request keeps the one it started with."""
        return self._loaded

    def refresh(self) -> bool:
        """Follow the pointer; True when a new release was swapped in. Failures go to `error`, never up."""
        with self._lock:
            try:
                pointer = read_pointer(self._releases_dir)
                wanted = pointer.get("id")
                if wanted is None:
                    self._fail(f"{self._releases_dir}: no release was activated yet; run `poplift release`")
                    return False
                if self._loaded is not None and wanted == self._loaded.id:
                    self.error = None
                    return False
                return self._follow(wanted, pointer.get("previous"))
            except (ReleaseError, OSError) as error:
                self._fail(str(error))
                return False

    def _follow(self, wanted: str, previous: str | None) -> bool:
        refused, since = self._refused
        if refused == wanted and time.perf_counter() - since < RETRY_SECONDS:
            return False  # verifying costs CPU: a refused release is looked at again only now and then
        try:
            self._swap(load(self._releases_dir / wanted))
        except (ReleaseError, OSError) as error:
            self._refused = (wanted, time.perf_counter())
            self._fail(str(error))
            if self._loaded is None and previous is not None:  # after a restart the last good one is on disk
                self._swap(load(self._releases_dir / previous), keep_error=True)
                return True
            return False
        return True

    def _swap(self, loaded: LoadedRelease, *, keep_error: bool = False) -> None:
        self._loaded = loaded
        if not keep_error:
            self.error = None
            self._refused = (None, 0.0)
        self._on_swap(loaded)

    def _fail(self, message: str) -> None:
        self.error = message
        self._on_error(message)
