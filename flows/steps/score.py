"""Step: score in batch, to Parquet: every candidate activation of the coming week, or rows that somebody planned."""

from datetime import datetime
from pathlib import Path

import pandas as pd
from ibis import _

from flows.steps.progress import Progress, silent
from poplift.lake import Lake
from poplift.settings import Settings
from serving.batch import score_week
from serving.bulk import Scored, score_files
from serving.current import load_current
from serving.online import FeastReader
from serving.release import LoadedRelease


def score_coming_week(settings: Settings, progress: Progress = silent) -> Path:
    """Write predictions_dir/….parquet: one row per outlet, ppg and candidate; the same inputs give the same file."""
    as_of = settings.now()
    loaded = load_current(settings.releases_dir)
    progress("reading online features")
    return score_week(
        loaded,
        candidate_plan(settings, loaded, as_of=as_of),
        reader=FeastReader(settings),
        business_time=as_of,
        into=settings.predictions_dir,
    )


def score_planned_rows(
    settings: Settings, progress: Progress = silent, *, source: Path, into: Path | None = None
) -> Scored:
    """Score the rows of a Parquet file or folder, by default into predictions_dir/planned; goes on where it died."""
    return score_files(
        load_current(settings.releases_dir),
        source,
        reader=FeastReader(settings),
        business_time=settings.now(),
        into=into or settings.predictions_dir / "planned",
        threads=settings.threads,
        progress=progress,
    )


def candidate_plan(settings: Settings, loaded: LoadedRelease, *, as_of: datetime) -> pd.DataFrame:
    """Grain: managed outlet x ppg x candidate activation of the policy."""
    lake = Lake(settings.lake_dir, threads=settings.threads)
    managed = lake.read("outlets", as_of=as_of).filter(_.is_managed).select("outlet_id")
    outlets = pd.DataFrame({"outlet_id": sorted(managed.to_pyarrow()["outlet_id"].to_pylist())})
    ppgs = pd.DataFrame({"ppg_id": loaded.policy.ppgs})
    candidates = pd.DataFrame([c.model_dump() for c in loaded.policy.candidates])
    return outlets.merge(ppgs, how="cross").merge(candidates, how="cross")
