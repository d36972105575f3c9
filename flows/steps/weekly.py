"""Everything a week needs, in order; a crash anywhere is mended by running it again."""

from flows.console import Console
from flows.model_console import retrained
from flows.steps.features import refresh_features
from flows.steps.ingest import ingest_events
from flows.steps.monitor import monitor
from flows.steps.promote import promote_if_new
from flows.steps.release import refresh_release
from flows.steps.retrain import retrain
from flows.steps.score import score_coming_week
from poplift.settings import Settings


def run_week(settings: Settings, console: Console) -> None:
    """Ingest, features, train if it is worth it, promote if the gate passes, release, score, monitor."""
    console.ingest(console.step("Ingest and validate", ingest_events, settings))
    console.features(console.step("Features", refresh_features, settings))
    retrained(console, console.step("Train if it is worth it", retrain, settings, cause="weekly"))
    promote_if_new(settings, who="weekly flow", why="the gate passed")
    console.step("Release", refresh_release, settings)
    console.step("Score the coming week", score_coming_week, settings)
    console.verdict(console.step("Monitor", monitor, settings), settings.reports_dir)
