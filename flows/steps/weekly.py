"""Everything a week needs, in order; a crash anywhere is mended by running it again."""

from flows.console import Console
from flows.steps.features import refresh_features
from flows.steps.ingest import ingest_events
from flows.steps.monitor import monitor
from flows.steps.promote import promote_if_new
from flows.steps.release import refresh_release
from flows.steps.score import score_coming_week
from flows.steps.train import train_if_changed
from poplift.settings import Settings


def run_week(settings: Settings, console: Console) -> None:
    """Ingest, features, train, promote if the gate passes, release, score, monitor."""
    console.ingest(console.step("Ingest and validate", ingest_events, settings))
    console.features(console.step("Features", refresh_features, settings))
    console.trained(console.step("Train and judge", train_if_changed, settings))
    promote_if_new(settings, who="weekly flow", why="the gate passed")
    console.step("Release", refresh_release, settings)
    console.step("Score the coming week", score_coming_week, settings)
    console.verdict(console.step("Monitor", monitor, settings), settings.reports_dir)
