"""Step: follow the champion alias, wherever it is moved: its release answers seconds later."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from flows.steps.ledger import read_ledger
from flows.steps.progress import Progress, silent
from flows.steps.promote import NoChampionError, ledger
from flows.steps.release import refresh_release
from flows.steps.stream import stopped_by_signals
from poplift import registry
from poplift.registry import CHAMPION, DEMAND
from poplift.settings import Settings
from serving import pointer
from serving.release import versions_of

T = TypeVar("T")
HEARTBEAT = "followed"  # a file of the home, as old as the last look: a health check looks at its time


@dataclass(frozen=True)
class Pace:
    """How often MLflow is asked where the alias points, and when a release that failed is built once more."""

    look: timedelta = timedelta(seconds=5)
    again: timedelta = timedelta(seconds=60)


@dataclass(frozen=True)
class Seen:
    """Where the alias points to, what the ledger says of it, what serves, and whether a move of it is unfinished."""

    points_to: str | None
    written: str | None
    served: str | None
    is_unfinished: bool

    @property
    def is_behind(self) -> bool:
        """Whether a release has to be built or a move to be written down."""
        return self.is_unfinished or self.points_to != self.written or self.points_to not in (None, self.served)


@dataclass
class Follower:
    """Looks at the alias until it is stopped; every failure is said once and waited out."""

    settings: Settings
    progress: Progress = silent
    pace: Pace = field(default_factory=Pace)
    stopping: threading.Event = field(default_factory=threading.Event)
    _said: dict[str, str] = field(default_factory=dict)
    _failed: tuple[str | None, float] | None = None  # version whose release could not be built, and when

    def run(self) -> None:
        """Look, and build where that is needed, one look after the other."""
        while not self.stopping.is_set():
            self.look()
            (self.settings.home / HEARTBEAT).touch()
            self.stopping.wait(self.pace.look.total_seconds())

    def look(self) -> None:
        """One look; raises nothing."""
        seen = self._tried(self._seen, "the champion cannot be looked at")
        if seen is None or not seen.is_behind or self._failed_lately(seen.points_to):
            return
        self._failed = (seen.points_to, time.monotonic())
        if self._tried(self._refresh, "the champion has no release, what served goes on"):
            self._failed = None

    def _seen(self) -> Seen:
        book = ledger(self.settings)
        moves = book.moves(model=DEMAND, alias=CHAMPION)
        served = pointer.read_pointer(self.settings.releases_dir).get("id")
        return Seen(
            points_to=registry.alias_version(self.settings, name=DEMAND, alias=CHAMPION),
            written=moves[-1].to_version if moves else None,
            served=versions_of(self.settings.releases_dir / served).get("model_version") if served else None,
            is_unfinished=book.open_intent(model=DEMAND, alias=CHAMPION) is not None,
        )

    def _refresh(self) -> bool:
        began = time.monotonic()
        try:
            built = refresh_release(self.settings)
        except NoChampionError as error:
            self.progress(str(error))
        else:
            version, seconds = built.versions["model_version"], time.monotonic() - began
            self.progress(f"version {version} is champion: release {built.id} is active, built in {seconds:.1f} s")
        for reason in read_ledger(self.settings).reasons:
            self.progress(reason)
        return True

    def _failed_lately(self, version: str | None) -> bool:
        if self._failed is None or self._failed[0] != version:
            return False
        return time.monotonic() - self._failed[1] < self.pace.again.total_seconds()

    def _tried(self, what: Callable[[], T], trouble: str) -> T | None:
        """What it gives; None where it fails. That is said when it is news, and so is that it works again."""
        try:
            found = what()
        except Exception as error:  # noqa: BLE001 - MLflow, artifacts, databases, locks, disks: all of them come back
            said = f"{trouble} ({type(error).__name__}: {error})".splitlines()[0]
            if self._said.get(trouble) != said:
                self.progress(f"{said}; looking on")
            self._said[trouble] = said
            return None
        if self._said.pop(trouble, None):
            self.progress(f"no longer: {trouble}")
        return found


def follow_champion(settings: Settings, progress: Progress = silent) -> None:
    """Follow the alias until Ctrl-C or SIGTERM; a release that is being built is finished first."""
    with stopped_by_signals() as stopping:
        Follower(settings, progress, stopping=stopping).run()
