"""Step: hold the served release to its promise, and write drift, freshness and performance as pages."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from feature_repo.catalog import DEMAND_SERVING, MODEL_FEATURES, VIEWS
from flows.steps.progress import Progress, silent
from flows.steps.train import training_set
from monitoring.check import check
from monitoring.index_page import Link
from monitoring.newest_events import newest_offline, newest_online
from monitoring.performance import Accuracy
from monitoring.verdict import Verdict
from poplift.feature_store import OnlineReader
from poplift.settings import Settings
from serving.current import load_current
from serving.scoring import score
from training.dataset import TrainingSet

NEWEST_WEEKS = 4
MODEL_REPORT = Link("How good is the model?", "model.html", "Scores, baselines, drivers and errors of the champion.")


def monitor(settings: Settings, progress: Progress = silent, *, data: TrainingSet | None = None) -> Verdict:
    """Check the served release on the newest weeks; writes the pages of reports_dir, index.html first."""
    loaded = load_current(settings.releases_dir)
    frame = (data or training_set(settings, progress)).frame
    trained_through, last = int(loaded.plan["trained_through_week"]), int(frame["week"].max())
    judged = frame[frame["week"] > trained_through]
    outcomes = judged.assign(prediction=score(loaded, judged).transactions)
    newest = outcomes[outcomes["week"] > last - NEWEST_WEEKS]
    promised = loaded.versions.get("promised", {})
    return check(
        reference=frame[frame["week"] <= trained_through],
        current=newest,
        columns=MODEL_FEATURES,
        evaluation=outcomes,
        outcomes=newest,
        promised=Accuracy(**promised) if promised else None,
        views=VIEWS,
        newest_offline=newest_offline(
            settings.features_dir, views=[v.name for v in VIEWS], as_of=settings.business_time
        ),
        newest_online=newest_online(_online_times(settings, frame)),
        reports_dir=settings.reports_dir,
        as_of=settings.business_time,
        progress=progress,
        links=_links(settings),
    )


def _online_times(settings: Settings, frame: pd.DataFrame) -> Mapping[str, np.ndarray]:
    pairs = frame[["outlet_id", "ppg_id"]].drop_duplicates().head(50)
    entities = [{"outlet_id": o, "ppg_id": p} for o, p in pairs.itertuples(index=False)]
    return OnlineReader(settings, service=DEMAND_SERVING).read(entities).event_timestamps


def _links(settings: Settings) -> Sequence[Link]:
    return [MODEL_REPORT] if (settings.reports_dir / MODEL_REPORT.href).exists() else []
