"""The challenger beside the champion, as this process runs it; out at the first sign that it cannot answer."""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from poplift.assignment import is_in_canary
from serving.pointer import Placed, read_challenger, stop
from serving.release import LoadedRelease, ReleaseError, load


@dataclass(frozen=True)
class Challenger:
    """A verified release in memory and the share of outlets it answers."""

    release: LoadedRelease
    share: float

    def answers(self, outlets: Collection[str]) -> bool:
        """Whether it answers a request: when every outlet of it is in the canary, so that one release answers all."""
        return self.share > 0 and all(
            is_in_canary(outlet, release_id=self.release.id, share=self.share) for outlet in outlets
        )


class CurrentChallenger:
    """Follows the pointer; a challenger that fails is out at once here, and for every process once that is written."""

    def __init__(self, releases_dir: Path, *, on_stop: Callable[[str, str], None]) -> None:
        self._releases_dir = releases_dir
        self._on_stop = on_stop
        self._lock = threading.Lock()
        self._running: Challenger | None = None
        self._failed: tuple[str, str] | None = None  # release and cause, until the pointer says so too
        self.error: str | None = None

    def get(self) -> Challenger | None:
        """The challenger of this moment; a request keeps the one it started with."""
        return self._running

    def refresh(self) -> None:
        """Follow the pointer. Failures stop the challenger, never whoever calls."""
        try:
            placed = read_challenger(self._releases_dir)
        except (ReleaseError, OSError) as error:
            self._running, self.error = None, str(error)
            return
        if self._failed is not None and placed is not None and placed.release_id == self._failed[0]:
            self._write_stop()
            return
        self._failed = None
        self.error = placed.stopped if placed else None
        if placed is None or placed.stopped is not None:
            self._running = None
        else:
            self._follow(placed)

    def stop(self, release_id: str, why: str) -> None:
        """Take a challenger out at once and let everyone know; no request waits for that."""
        with self._lock:
            if self._failed is not None and self._failed[0] == release_id:
                return
            self._running, self._failed, self.error = None, (release_id, why), why
        self._on_stop(release_id, why)
        threading.Thread(target=self._write_stop, name="challenger-stop", daemon=True).start()

    def _follow(self, placed: Placed) -> None:
        running = self._running
        try:
            same = running is not None and running.release.id == placed.release_id
            release = running.release if running and same else load(self._releases_dir / placed.release_id)
        except (ReleaseError, OSError) as error:
            self.stop(placed.release_id, f"release refused: {error}")
            return
        with self._lock:
            if self._failed is None:  # it may have failed while this looked
                self._running = Challenger(release, placed.share)

    def _write_stop(self) -> None:
        failed = self._failed
        if failed is None:
            return
        try:
            stop(self._releases_dir, failed[0], why=failed[1])
        except (ReleaseError, OSError) as error:  # tried again at the next look; here it is out already
            self.error = f"{failed[1]}; the others could not be told: {error}"
            return
        with self._lock:
            self._failed = None
