"""Step: fill one view over a range of weeks as of then, and write its newest rows online."""

from typing import TYPE_CHECKING

from flows.steps.features import initialise
from flows.steps.progress import Progress, silent
from poplift import feature_store
from poplift.lake import Lake
from poplift.settings import Settings

if TYPE_CHECKING:
    from feature_repo.backfill import Backfilled


def backfill_view(settings: Settings, progress: Progress = silent, *, view: str, first: int, last: int) -> "Backfilled":
    """Backfill, register and materialise `view`; run again after a kill it goes on where it was."""
    from feature_repo.backfill import backfill
    from feature_repo.definitions.repository import objects

    initialise(settings)
    defined = objects(settings)
    feature_store.refuse_breaking_changes(settings, defined)
    filled = backfill(
        Lake(settings.lake_dir, threads=settings.threads),
        view=view,
        weeks=(first, last),
        features_dir=settings.features_dir,
        as_of=settings.now(),
        progress=progress,
    )
    progress("feast apply")
    feature_store.apply(settings, defined)
    progress("feast materialize")
    feature_store.materialize(settings, views=[view])
    return filled
