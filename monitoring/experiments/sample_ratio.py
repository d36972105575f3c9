"""Whether the outlets that report are those that were assigned: the check that comes before every effect."""

from collections.abc import Mapping
from dataclasses import dataclass

from poplift.assignment import CONTROL, TREATMENT

STOP_BELOW = 0.001


@dataclass(frozen=True)
class SampleRatio:
    """Outlets assigned to and seen in each arm, outlets seen in another arm than their own, and two chances.

    `p_value` is of the counts seen against the design's share, `p_missing` of one arm losing more outlets than the
    other.
    """

    assigned: Mapping[str, int]
    seen: Mapping[str, int]
    moved: tuple[str, ...]
    p_value: float
    p_missing: float

    @property
    def is_broken(self) -> bool:
        """Whether the arms are no longer comparable, so that no effect may be shown."""
        return bool(self.moved) or min(self.p_value, self.p_missing) < STOP_BELOW

    @property
    def said(self) -> str:
        """The counts in words."""
        counts = " and ".join(f"{self.seen[arm]} of {self.assigned[arm]} {arm} outlets" for arm in (TREATMENT, CONTROL))
        least = min(self.p_value, self.p_missing)
        moved = (
            f"; {len(self.moved)} outlets were served another arm, {', '.join(self.moved[:5])}" if self.moved else ""
        )
        return f"{counts} have outcomes (p {'< 0.001' if least < STOP_BELOW else f'= {least:.3f}'}){moved}"


def sample_ratio(
    arms: Mapping[str, str], seen: frozenset[str], *, share: float, served: Mapping[str, str] | None = None
) -> SampleRatio:
    """Judge who is seen by a chi-square of the counts (Fabijan et al. 2019, KDD), who is missing by Fisher's exact.

    `arms` is outlet → arm as launched, `seen` the outlets with outcomes, `served` the arms that the decision log
    names. Among a hundred outlets the counts alone hardly tell that one arm lost a quarter of its own: the second
    test does.
    """
    from scipy.stats import chi2, fisher_exact

    def counted(outlets: frozenset[str]) -> dict[str, int]:
        return {arm: sum(arms[outlet] == arm for outlet in outlets) for arm in (CONTROL, TREATMENT)}

    assigned, present = counted(frozenset(arms)), counted(seen & frozenset(arms))
    total = sum(present.values())
    expected = {CONTROL: total * (1 - share), TREATMENT: total * share}
    distance = sum((present[arm] - expected[arm]) ** 2 / expected[arm] for arm in expected) if total else 0.0
    table = [[present[arm], assigned[arm] - present[arm]] for arm in (CONTROL, TREATMENT)]
    moved = tuple(sorted(o for o, arm in (served or {}).items() if o in arms and arm != arms[o]))
    return SampleRatio(assigned, present, moved, float(chi2.sf(distance, df=1)), float(fisher_exact(table).pvalue))
