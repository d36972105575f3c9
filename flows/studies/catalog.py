"""The studies by their ids, and running one of them; docs/science.json and docs/science.md keep the answers."""

import importlib
import time
from dataclasses import replace
from pathlib import Path

from flows.steps.progress import Progress, silent
from flows.studies.page import write_page
from flows.studies.study import Answers, Study

# id → module, and as many runs as its goal needs
STUDIES: dict[str, tuple[str, int]] = {
    "S0": ("calibration", 12),
    "S2": ("known_lift", 200),
    "S3": ("stock_outs", 40),
    "S4": ("allocation", 20),
    "S6": ("off_policy", 45),
    "S7": ("experiments", 200),
    "S8": ("closed_loop", 40),
    "S10": ("drivers", 4),
}


class StudyError(Exception):
    """There is no such study."""


def run_study(
    study_id: str, *, seed: int, runs: int | None = None, answers: Answers | None = None, progress: Progress = silent
) -> Study:
    """Run a study; one of as many runs as its goal needs takes the place of the answer that is kept.

    Raises StudyError with the known ids.
    """
    if study_id not in STUDIES:
        raise StudyError(f"{study_id!r} is not a study; choose one of: {', '.join(STUDIES)}")
    module, enough = STUDIES[study_id]
    started = time.perf_counter()
    answer: Study = importlib.import_module(f"flows.studies.{module}").run(
        seed=seed, runs=runs or enough, progress=progress
    )
    answer = replace(answer, seed=seed, runs=runs or enough, seconds=round(time.perf_counter() - started, 1))
    if is_kept(answer):
        kept = answers or Answers()
        kept.keep(answer)
        write_page(kept.all(), page(kept.path))
    return answer


def is_kept(answer: Study) -> bool:
    """Whether the answer is of enough runs to be kept."""
    return answer.runs >= STUDIES[answer.id][1]


def page(results: Path) -> Path:
    """The page beside the results."""
    return results.with_suffix(".md")
