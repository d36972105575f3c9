"""Step: hold the served release to its promise, and write drift, freshness and performance as pages."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd

from feature_repo.build import table_path
from feature_repo.catalog import DEMAND_SERVING, MODEL_FEATURES, VIEWS
from flows.steps.challenger import look
from flows.steps.evidence import remember
from flows.steps.ledger import verify_ledger
from flows.steps.outcomes import kept_promises
from flows.steps.progress import Progress, silent
from flows.steps.release import MODEL_PAGE
from flows.steps.train import training_set
from monitoring.challenger import as_finding
from monitoring.check import Newest, check
from monitoring.index_page import Link
from monitoring.newest_events import newest_offline, newest_online
from monitoring.performance import Accuracy
from monitoring.quality import Arrived, arrivals_finding
from monitoring.served_vectors import served_vectors
from monitoring.skew import SkewSummary, measure_skew
from monitoring.verdict import Figure, Finding, Status, Verdict
from poplift.feature_store import OnlineReader, historical_features
from poplift.settings import Settings
from poplift.sources.ingest import FUTURE, RECORDS
from serving.current import load_current
from serving.pointer import read_challenger
from serving.release import ReleaseError
from serving.scoring import score
from training.dataset import TrainingSet

NEWEST_WEEKS = 4
ENTITIES_ASKED = 50
VECTORS_RECOMPUTED = 200
# From the first file of a table that is made anew to its rows being online; until then the rows of before are served.
REFRESH = timedelta(minutes=2)
PAGES = (  # of the other steps; a name, since importing them all takes long
    Link("How good is the model?", MODEL_PAGE, "Scores, baselines, drivers and errors of the champion."),
    Link("What to run where?", "plan.html", "The coming week's activations, and why. poplift plan writes it."),
    Link("What do activations add?", "effects.html", "Effects and how far to trust them. poplift effects writes it."),
    Link("Does deciding pay?", "loop.html", "A simulated year of decisions. poplift loop writes it."),
)


def monitor(settings: Settings, progress: Progress = silent, *, data: TrainingSet | None = None) -> Verdict:
    """Check the served release on the newest weeks; writes the pages of reports_dir, index.html first."""
    loaded = load_current(settings.releases_dir)
    frame = (data or training_set(settings, progress)).frame
    trained_through = int(loaded.plan["trained_through_week"])
    newest = frame[frame["week"] > int(frame["week"].max()) - NEWEST_WEEKS]
    judged = frame[frame["week"] > trained_through]
    outcomes = judged.assign(prediction=score(loaded, judged).transactions) if len(judged) else None
    promised = loaded.versions.get("promised", {})
    verdict = check(
        reference=frame[frame["week"] <= trained_through],
        current=newest,
        columns=MODEL_FEATURES,
        evaluation=outcomes,
        outcomes=None if outcomes is None else outcomes[outcomes["week"].isin(newest["week"])],
        promised=Accuracy(**promised) if promised else None,
        views=VIEWS,
        newest_offline=_newest_offline(settings, progress),
        newest_online=_newest_online(settings, frame, progress),
        skew=lambda: served_skew(settings),
        reports_dir=settings.reports_dir,
        as_of=settings.now(),
        progress=progress,
        links=PAGES,
        further={
            "Ledger check": lambda: _ledger(settings, progress),
            "Data quality check": lambda: _quality(settings),
            **_challenger(settings),
        },
        brought=lambda: kept_promises(settings, progress, frame=frame),
        served=loaded.id,
    )
    remember(settings, verdict)
    return verdict


def served_skew(settings: Settings) -> SkewSummary:
    """Served vectors against the tables; those served before a table was made anew, by other code, are not asked."""
    files = [table_path(settings.features_dir, v.name).glob("*.parquet") for v in VIEWS]
    made = max(min((file.stat().st_mtime for file in table), default=0.0) for table in files)
    return measure_skew(
        served_vectors(
            settings.decisions_dir,
            since=datetime.fromtimestamp(made, UTC) + REFRESH,
            limit=VECTORS_RECOMPUTED,
        ),
        views={view.name: [feature.name for feature in view.features] for view in VIEWS},
        join=lambda asked: historical_features(settings, entities=asked, service=DEMAND_SERVING),
    )


def _ledger(settings: Settings, progress: Progress) -> Finding:
    """Moves of the alias that nobody answers for, and a ledger that is contradicted."""
    state = verify_ledger(settings, progress)
    status: Status = "breach" if state.reasons else "unknown" if state.not_asked else "ok"
    asked = (f"The ledger could not be compared with MLflow: {state.not_asked}.",) if state.not_asked else ()
    moved = sum(entry.move.state == "moved" for entry in state.entries)
    figure = Figure(
        "promotions_unanswered",
        "Promotions nobody answers for",
        len(state.reasons),
        f"{len(state.reasons)}",
        f"{moved} moves in the ledger" if not state.not_asked else "MLflow not asked",
        status,
    )
    return Finding(status, (*state.reasons, *asked), figure)


def _challenger(settings: Settings) -> dict[str, Callable[[], Finding]]:
    """A look at the challenger, where one stands beside the champion."""
    try:
        if read_challenger(settings.releases_dir) is None:
            return {}
    except ReleaseError:
        pass  # the check will say so
    return {"Challenger check": lambda: as_finding(look(settings).judgement)}


def _quality(settings: Settings) -> Finding:
    """The newest ingest of the lake, as its own record tells it; rows that are not known yet are not bad ones."""
    records = (settings.lake_dir / RECORDS).glob("*.json")
    newest = max(records, key=lambda path: path.stat().st_mtime_ns, default=None)
    tables = json.loads(newest.read_text())["tables"] if newest else []
    early = {t["table"]: sum(v["rows"] for v in t["violations"] if v["rule"] == FUTURE) for t in tables}
    return arrivals_finding(
        Arrived(t["table"], t["rows_in"] - early[t["table"]], t["rows_quarantined"] - early[t["table"]]) for t in tables
    )


def _newest_offline(settings: Settings, progress: Progress) -> Newest | None:
    """None when the tables cannot be read: the verdict is then `unknown`, which is not a pass."""
    try:
        return newest_offline(settings.features_dir, views=[v.name for v in VIEWS], as_of=settings.now())
    except duckdb.Error as error:
        progress(f"feature tables cannot be read: {error}")
        return None


def _newest_online(settings: Settings, frame: pd.DataFrame, progress: Progress) -> Newest | None:
    """None when the online store does not answer, whatever it fails with."""
    pairs = frame[["outlet_id", "ppg_id"]].drop_duplicates().head(ENTITIES_ASKED)
    entities = [{"outlet_id": o, "ppg_id": p} for o, p in pairs.itertuples(index=False)]
    try:
        return newest_online(OnlineReader(settings, service=DEMAND_SERVING).read(entities).event_timestamps)
    except Exception as error:  # noqa: BLE001 # every store has errors of its own
        progress(f"online store cannot be read: {error}")
        return None
