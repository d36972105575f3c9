"""Step: put a candidate before the gate, and seal what it said with everything needed to say it again."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from poplift import registry, verdicts
from poplift.clock import wall_now
from poplift.code_version import commit, source_digest
from poplift.lake import Lake
from poplift.registry import Version
from poplift.settings import Settings
from poplift.verdicts import SignedVerdict
from training.gate.examine import Subject
from training.gate.finding import Verdict
from training.train import Candidate

BASELINES = ("all_zero", "mean_4w", "mean_13w", "mean_all", "seasonal_naive", "poisson_glm")
JUDGED_BY = ("poplift", "feature_repo", "training")


@dataclass(frozen=True)
class Champion:
    """The present champion with its model, ready to forecast the same cells."""

    version: Version
    subject: Subject


@dataclass(frozen=True)
class Judged:
    """The gate's verdict and the same, sealed."""

    verdict: Verdict
    signed: SignedVerdict


def champion_of(settings: Settings, *, model: str) -> Champion | None:
    """The champion of the registry with its model; None when there is none."""
    from training.demand import load

    version = registry.by_alias(settings, name=model, alias=registry.CHAMPION)
    if version is None:
        return None
    with registry.model_files(settings, version) as folder:
        return Champion(version, Subject(load(folder), size_of(folder)))


def judge_candidate(settings: Settings, candidate: Candidate, *, model: str, files: Path) -> Judged:
    """The whole gate on the candidate whose model files are in `files`, the champion in the race if there is one."""
    from training.gate import examine, judge
    from training.gate.contender import of_model

    frame, cells = candidate.training_set.frame, candidate.evaluation.cells
    held_out = frame.loc[cells.index]
    champion = champion_of(settings, model=model)
    challenger = of_model(candidate.model, held_out)
    examined = examine.examine(
        Subject(candidate.model, size_of(files)),
        champion.subject if champion else None,
        frame=frame,
        forecast=challenger.mean,
        known=lambda instant: known_at(settings, instant),
        seed=settings.seed,
        clock=time.perf_counter,
    )
    verdict = judge.judge(
        cells,
        challenger=challenger,
        baselines=baselines_of(cells),
        champion=of_model(champion.subject.model, held_out) if champion else None,
        seed=settings.seed,
        examined=examined,
        required=judge.REQUIRED,
    )
    about = {
        "trained_through_week": candidate.model.plan["trained_through_week"],
        "data": candidate.training_set.pins,
        "files": verdicts.file_digests(files),
    }
    return seal(settings, verdict, model=model, champion=champion.version if champion else None, about=about)


def seal(
    settings: Settings, verdict: Verdict, *, model: str, champion: Version | None, about: Mapping[str, Any]
) -> Judged:
    """Sign a verdict with what it is `about`, in which race, by which code and with which seed."""
    record = {
        **about,
        "model": model,
        "outcome": verdict.outcome,
        "reasons": list(verdict.reasons),
        "findings": [{**asdict(f), "figures": dict(f.figures)} for f in verdict.findings],
        "champion": champion.version if champion else None,
        "champion_run": champion.run_id if champion else None,
        "seed": settings.seed,
        "code": {"digest": source_digest(JUDGED_BY), "commit": commit()},
        "judged_at": wall_now().isoformat(),
    }
    return Judged(verdict, verdicts.sign(record, key=settings.verdict_key.get_secret_value()))


def known_at(settings: Settings, instant: pd.Timestamp) -> pd.DataFrame:
    """Features recomputed from nothing but what the lake knew at `instant`."""
    from feature_repo.build import sources
    from training.gate.knowledge import known_features

    lake = Lake(settings.lake_dir, threads=settings.threads)
    return known_features(sources(lake, as_of=instant.to_pydatetime()))


def baselines_of(cells: pd.DataFrame) -> dict[str, np.ndarray]:
    """The baselines' forecasts of the held-out cells, as far as they are available."""
    return {name: cells[name].to_numpy("float64") for name in BASELINES if name in cells}


def size_of(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
