"""Step: run a simulation study, whose answer lands in docs/science.md."""

from flows.steps.progress import Progress, silent
from flows.studies.catalog import run_study
from flows.studies.study import Study
from poplift.settings import Settings


def study(
    settings: Settings,  # noqa: ARG001 - every step takes them
    progress: Progress = silent,
    *,
    study_id: str,
    seed: int,
    runs: int | None,
) -> Study:
    """Run one study and write its answer into docs/science.md; raises StudyError for an unknown id."""
    return run_study(study_id, seed=seed, runs=runs, progress=progress)
