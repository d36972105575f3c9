"""Step: remember what monitoring found, and gather what speaks for a new training."""

from datetime import datetime
from typing import Any

from ibis import _

from feature_repo.build import sources
from feature_repo.transformations.panel import panel
from monitoring.verdict import Verdict
from poplift import registry
from poplift.clock import wall_now
from poplift.journal import Journal
from poplift.lake import Lake
from poplift.market_week import decided_week
from poplift.settings import Settings
from training.retrain import Evidence, Window

KIND_OF_FIGURE = {
    "rows_refused": "quality",
    "inputs_moved_far": "drift",
    "poisson_deviance": "performance",
    "wape_ppg_week": "performance",
    "bias": "performance",
    "promise_on_decisions": "performance",
}
LABELLED = "last_week"  # tag of every run that was trained on a training set
NOTHING_NEW = "nothing new"


def broken_kinds(verdict: Verdict) -> tuple[str, ...]:
    """Which kinds of thing a verdict says are broken that a new model could answer."""
    found = {KIND_OF_FIGURE.get(figure.key) for figure in verdict.figures if figure.status == "breach"}
    return tuple(sorted(kind for kind in found if kind))


def monitoring_history(settings: Settings) -> Journal:
    """One line per monitoring run."""
    return Journal(settings.home / "monitoring.jsonl")


def decisions(settings: Settings) -> Journal:
    """One line per decision to retrain or not, and one per training that came of it."""
    return Journal(settings.home / "retrain.jsonl")


def remember(settings: Settings, verdict: Verdict) -> None:
    """Add what monitoring found at business time to its history."""
    as_of = settings.now()
    monitoring_history(settings).append(
        {
            "week": decided_week(as_of).isoformat(),
            "as_of": as_of.isoformat(),
            "at": wall_now().isoformat(),
            "status": verdict.status,
            "broken": broken_kinds(verdict),
        }
    )


def gather(settings: Settings) -> Evidence:
    """Everything since the newest training, by the policy or by hand; raises what MLflow raises when it is down."""
    run = registry.newest_run(settings, tag=LABELLED)
    started, finished = _trainings(decisions(settings))
    if run is None:
        return Evidence(trained_rows=0, new_rows=0, started=started, finished=finished)
    as_of = settings.now()
    tables = sources(Lake(settings.lake_dir, threads=settings.threads), as_of=as_of)
    new = panel(tables).filter(_.week > int(run[LABELLED])).count().to_pyarrow().as_py()
    return Evidence(
        trained_rows=int(run["rows"]),
        new_rows=int(new),
        windows=_windows(monitoring_history(settings), since=datetime.fromisoformat(run["as_of"])),
        started=started,
        finished=finished,
    )


def _windows(history: Journal, *, since: datetime) -> tuple[Window, ...]:
    """The last run of every decided week whose business time is after what was trained on."""
    newest: dict[str, Window] = {}
    for line in history.lines():
        if line.record is not None and datetime.fromisoformat(line.record["as_of"]) > since:
            newest[line.record["week"]] = Window(line.record["week"], frozenset(line.record["broken"]))
    return tuple(newest[week] for week in sorted(newest))


def _trainings(journal: Journal) -> tuple[tuple[datetime, ...], tuple[datetime, ...]]:
    """Wall times of trainings started and finished; one that found nothing new cost nothing and is neither."""
    started: dict[int, datetime] = {}
    finished = []
    for line in journal.lines():
        record: Any = line.record or {}
        if record.get("decision") == "train":
            started[line.number] = datetime.fromisoformat(record["at"])
        elif record.get("result") == NOTHING_NEW:
            started.pop(record["of_line"], None)
        elif "result" in record:
            finished.append(datetime.fromisoformat(record["at"]))
    return tuple(started.values()), tuple(finished)
