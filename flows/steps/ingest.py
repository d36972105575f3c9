"""Step: take the source's events through their contracts into the lake."""

from flows.steps.progress import Progress, silent
from poplift.lake import Lake
from poplift.settings import Settings
from poplift.sources.complete_journey import CompleteJourney, package_folder
from poplift.sources.ingest import IngestReport, ingest


def ingest_events(settings: Settings, progress: Progress = silent) -> IngestReport:
    """Ingest the Complete Journey; the same data twice adds nothing."""
    source = CompleteJourney(package_folder(), settings.shopper_key.get_secret_value())
    lake = Lake(settings.lake_dir, threads=settings.threads)
    return ingest(source, lake, as_of=settings.business_time, progress=progress)
