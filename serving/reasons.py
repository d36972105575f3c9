"""Why the model predicts what it predicts for a row: its largest contributions in plain words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal

import numpy as np

from feature_repo.catalog import ON_DEMAND, VIEWS, Feature
from serving.leaf_shares import Floats
from serving.release import EXPLAINED, LoadedRelease

FEATURES: Mapping[str, Feature] = {f.name: f for f in (*(f for v in VIEWS for f in v.features), *ON_DEMAND)}
LOG_LINKS = ("poisson", "tweedie", "gamma")


@dataclass(frozen=True)
class Reason:
    """One contribution to a prediction; it explains the predictor and is never a lift."""

    feature: str
    value: float | None
    unit: str
    effect: float
    scale: Literal["times", "plus"]
    text: str


def reasons(release: LoadedRelease, inputs: Floats, *, top: int = 3) -> list[list[Reason]]:
    """The `top` contributions to every row's predicted transactions, largest first.

    Contributions are those of `serving/leaf_shares.py`; `inputs` is n x `MODEL_FEATURES`. Under a log link one
    multiplies the prediction (`times`), else it adds transactions (`plus`).
    """
    heads = release.heads
    values = heads.arranged(inputs)
    explained = release.explanations.get(heads.filled(values), partial(_contributions, release))
    shares = explained[EXPLAINED]
    order = np.argsort(-np.abs(shares), axis=1, kind="stable")[:, :top]
    multiplies = heads.boosters[EXPLAINED].objective in LOG_LINKS
    return [
        [_reason(heads.features[j], float(values[i, j]), float(shares[i, j]), multiplies) for j in order[i].tolist()]
        for i in range(len(values))
    ]


def _contributions(release: LoadedRelease, rows: Floats) -> Mapping[str, Floats]:
    return {EXPLAINED: release.heads.contributions(EXPLAINED, rows)}


@lru_cache(maxsize=4096)  # whoever asks again about an outlet reads the same sentences
def _reason(name: str, value: float, share: float, multiplies: bool) -> Reason:
    known = FEATURES[name]
    shown = "missing, its default used" if math.isnan(value) else _shown(value, known.unit)
    verb = "raises" if share >= 0 else "lowers"
    size = f"{abs(math.exp(share) - 1.0):.0%}" if multiplies else f"{abs(share):.2f} transactions"
    return Reason(
        feature=name,
        value=None if math.isnan(value) else value,
        unit=known.unit,
        effect=math.exp(share) if multiplies else share,
        scale="times" if multiplies else "plus",
        text=f"{known.description} ({shown}) {verb} the prediction by {size}",
    )


def _shown(value: float, unit: str) -> str:
    if unit == "0/1":
        return "yes" if value else "no"
    return f"{value:.0%}" if unit == "share" else f"{value:.3g} {unit}"
