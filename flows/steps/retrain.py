"""Step: train when the evidence says so, and write down why, or why not."""

from dataclasses import asdict, dataclass

from filelock import FileLock, Timeout

from flows.steps.evidence import NOTHING_NEW, decisions, gather
from flows.steps.progress import Progress, silent
from flows.steps.train import Trained, train_if_changed
from poplift.clock import wall_now
from poplift.settings import Settings
from training.retrain import RetrainDecision, decide


@dataclass(frozen=True)
class Retrained:
    """What was decided and what came of it; `trained` is None after a skip, and when there was nothing new."""

    decision: RetrainDecision
    trained: Trained | None
    result: str


def retrain(
    settings: Settings, progress: Progress = silent, *, cause: str = "by hand", dry_run: bool = False
) -> Retrained:
    """Decide by the policy, train if it is due, and let the gate judge; the decision is on disk before it begins.

    A second one at the same time is skipped. With `dry_run` nothing is written and nothing trained.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    alone = FileLock(settings.home / "retrain.lock", timeout=0)
    try:
        alone.acquire()
    except Timeout:
        busy = RetrainDecision(is_due=False, grounds=(), held_by=("another retraining is running",))
        if not dry_run:
            _write_down(settings, busy, cause)
        return Retrained(busy, None, "skipped")
    try:
        return _decide_and_train(settings, progress, cause=cause, dry_run=dry_run)
    finally:
        alone.release()


def _decide_and_train(settings: Settings, progress: Progress, *, cause: str, dry_run: bool) -> Retrained:
    progress("gathering evidence")
    decision = decide(gather(settings), now=wall_now())
    if dry_run:
        return Retrained(decision, None, "dry run: nothing was written or trained")
    line = _write_down(settings, decision, cause)
    if not decision.is_due:
        return Retrained(decision, None, "skipped")
    trained = train_if_changed(settings, progress)
    result = NOTHING_NEW if trained is None else trained.verdict.outcome
    decisions(settings).append(
        {
            "result": result,
            "of_line": line,
            "at": wall_now().isoformat(),
            "version": trained.version if trained else None,
            "run_id": trained.run_id if trained else None,
        }
    )
    return Retrained(decision, trained, result)


def _write_down(settings: Settings, decision: RetrainDecision, cause: str) -> int:
    written = decisions(settings).append(
        {
            "decision": "train" if decision.is_due else "skip",
            "cause": cause,
            "as_of": settings.now().isoformat(),
            "at": wall_now().isoformat(),
            **asdict(decision),
        }
    )
    return written.number
