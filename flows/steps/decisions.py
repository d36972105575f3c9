"""Step: what the API decided, and the shadow said beside it, goes from the log into the lake, each row once."""

from flows.steps.progress import Progress, silent
from poplift.decision_table import Landed, land_decisions
from poplift.lake import Lake
from poplift.settings import Settings


def land_logged(settings: Settings, progress: Progress = silent) -> Landed:
    """Land what was logged since the last time; an API that goes on writing, or a run that died, changes nothing."""
    landed = land_decisions(settings.decisions_dir, Lake(settings.lake_dir, threads=settings.threads))
    progress(summary(landed))
    return landed


def summary(landed: Landed) -> str:
    """One line of what came of it."""
    said = f"{landed.added:,} decisions landed"
    beside = (
        (landed.shadow, "answers of the shadow"),
        (landed.unreadable, "unreadable lines"),
        (landed.refused, "rows in quarantine"),
    )
    return ", ".join([said, *(f"{count:,} {what}" for count, what in beside if count)])
