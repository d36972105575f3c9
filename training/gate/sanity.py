"""Whether the forecasts are numbers at all, and say different things of different cells."""

import numpy as np

from training.gate.contender import MEAN, Contender
from training.gate.finding import Finding

CHECK = "sanity"
COUNTS = (MEAN, "units")  # never below zero; a quantile of jittered counts may be


def check_forecasts(contender: Contender, *, rows: int) -> Finding:
    """Refuse a head of the wrong length, with NaN or infinity, negative counts, or the same answer everywhere."""
    for head, values in contender.heads.items():
        of = "forecasts" if head == MEAN else f"forecasts of {head}"
        if len(values) != rows:
            return _refused(f"{len(values)} {of} for {rows} cells")
        broken = int((~np.isfinite(values)).sum())
        if broken:
            return _refused(f"{broken} {of} are NaN or infinite", broken=broken)
        negative = int((values < 0).sum())
        if head in COUNTS and negative:
            return _refused(f"{negative} {of} are negative", negative=negative)
    if float(np.ptp(contender.mean)) < 1e-9:
        return _refused(f"the forecast is the constant {contender.mean[0]:.4f}: the model learned nothing")
    said = f"{rows:,} forecasts of {len(contender.heads)} heads are finite, and no count is negative"
    return Finding(CHECK, "pass", said, {"rows": float(rows)}, is_told=False)


def _refused(said: str, **figures: float) -> Finding:
    return Finding(CHECK, "refuse", said, {f"sanity_{name}": float(value) for name, value in figures.items()})
