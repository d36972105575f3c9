"""Step: take the source's events through their contracts into the lake."""

from flows.steps.progress import Progress, silent
from poplift.lake import Lake
from poplift.settings import Settings
from poplift.sources.ingest import IngestReport, ingest, open_source


def ingest_events(settings: Settings, progress: Progress = silent) -> IngestReport:
    """Ingest the source of the settings; the same data twice adds nothing."""
    source = open_source(settings)
    lake = Lake(settings.lake_dir, threads=settings.threads)
    return ingest(source, lake, as_of=settings.now(), progress=progress)
