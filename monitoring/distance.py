"""How far two samples lie apart: the distances behind the drift gate, as plain numpy."""

from collections.abc import Hashable, Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PSI_BINS = 10
# An empty bin would make PSI infinite; a share this small is what an unseen bin counts as.
SMALLEST_SHARE = 1e-4


def bin_counts(reference: Floats, current: Floats, *, bins: int = PSI_BINS) -> tuple[Floats, Floats]:
    """Counts of both samples in the reference's quantile bins, each array of length (bins used).

    Both samples must be finite and non-empty. A reference with at most `bins` distinct values (a flag, a
    constant) gets a bin per value and one for everything unseen: a moved constant is not lost in a tail.
    """
    values = np.unique(reference)
    if len(values) <= bins:
        return _counts_per_value(values, reference), _counts_per_value(values, current)
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    size = len(edges) + 1
    # side="left" keeps a value equal to an edge in the lower bin: the many zeros of sparse sales share one.
    old = np.bincount(np.searchsorted(edges, reference, side="left"), minlength=size)
    new = np.bincount(np.searchsorted(edges, current, side="left"), minlength=size)
    return old.astype(np.float64), new.astype(np.float64)


def _counts_per_value(values: Floats, sample: Floats) -> Floats:
    place = np.minimum(np.searchsorted(values, sample), len(values) - 1)
    place = np.where(values[place] == sample, place, len(values))
    return np.bincount(place, minlength=len(values) + 1).astype(np.float64)


def population_stability_index(reference_counts: Floats, current_counts: Floats) -> float:
    """PSI = Σ (c − r) · ln(c / r) over the shares r, c of aligned bins (Siddiqi 2006); 0 is no change."""
    old = np.maximum(reference_counts / reference_counts.sum(), SMALLEST_SHARE)
    new = np.maximum(current_counts / current_counts.sum(), SMALLEST_SHARE)
    return float(np.sum((new - old) * np.log(new / old)))


def kolmogorov_smirnov(reference: Floats, current: Floats) -> float:
    """Two-sample KS statistic: the largest gap between the empirical distributions, 0 to 1.

    The gate reads the gap and not its p-value: with thousands of rows every gap is significant.
    """
    old, new = np.sort(reference), np.sort(current)
    # Between two current values only the reference's distribution rises, so the largest gap is at or just
    # before a current value: the many reference rows need no look of their own.
    gaps = (
        np.searchsorted(old, new, side=side) / len(old) - np.searchsorted(new, new, side=side) / len(new)
        for side in ("left", "right")
    )
    return float(max(np.abs(gap).max() for gap in gaps))


def category_counts(reference: Mapping[Hashable, int], current: Mapping[Hashable, int]) -> tuple[Floats, Floats]:
    """Align counts by category; a category that only one side knows counts 0 on the other."""
    names = sorted(set(reference) | set(current), key=str)
    old = np.array([reference.get(name, 0) for name in names], dtype=np.float64)
    new = np.array([current.get(name, 0) for name in names], dtype=np.float64)
    return old, new


def jensen_shannon(reference_counts: Floats, current_counts: Floats) -> float:
    """Jensen–Shannon distance with base 2 (Endres & Schindelin 2003): 0 for equal shares, 1 for disjoint."""
    old = reference_counts / reference_counts.sum()
    new = current_counts / current_counts.sum()
    middle = (old + new) / 2
    divergence = sum(
        float(np.sum(side[side > 0] * np.log2(side[side > 0] / middle[side > 0]))) / 2 for side in (old, new)
    )
    return float(np.sqrt(max(divergence, 0.0)))


def chi_square(reference_counts: Floats, current_counts: Floats) -> tuple[float, float]:
    """Pearson's χ² of the 2 × categories table and its p-value; (0, 1) when there is only one category."""
    from scipy.special import chdtrc

    table = np.vstack([reference_counts, current_counts])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 0.0, 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = float(np.sum((table - expected) ** 2 / expected))
    return statistic, float(chdtrc(table.shape[1] - 1, statistic))
