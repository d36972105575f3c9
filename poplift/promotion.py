"""What a version needs to become champion: the gate's pass, no harm seen live, and where asked for a live pass."""

from dataclasses import dataclass
from typing import Literal

from poplift.alias_moves import Judged
from poplift.ledger import PASSED

Needs = Literal["gate", "shadow", "canary"]
UNDECIDED = "not enough evidence"
COUNTS = {"shadow": ("shadow", "canary"), "canary": ("canary",)}  # a canary shows all that a shadow does


@dataclass(frozen=True)
class Live:
    """What a version's time beside a champion showed: the verdict, at which stage, and beside which version."""

    judged: Judged
    stage: str
    champion: str | None

    @property
    def told(self) -> str:
        """The verdict in a line."""
        return f"{self.judged.verdict!r} as {self.stage} beside version {self.champion}: {self.judged.reasons}"


def missing(judged: Judged, live: Live | None, *, needs: Needs, champion: str | None) -> str:
    """What a version lacks for a promotion that nobody answers for by name; empty when nothing.

    Without a `champion`, or where the version is it already, there is nothing to stand beside and the gate is enough.
    """
    if judged.verdict != PASSED:
        return f"the gate's verdict is {judged.verdict!r}, not 'pass' ({judged.reasons})"
    if champion is None:
        return ""
    if live is not None and live.judged.verdict not in (PASSED, UNDECIDED):
        return f"its live verdict is {live.told}"
    if needs == "gate":
        return ""
    wanted = f"POPLIFT_PROMOTE_AFTER={needs} wants a passing live verdict beside version {champion}"
    if live is None:
        return f"{wanted}, and it has none: run `poplift challenger {needs}`, then `poplift challenger judge`"
    holds = live.judged.verdict == PASSED and live.stage in COUNTS[needs] and live.champion == champion
    return "" if holds else f"{wanted}; its own is {live.told}"
