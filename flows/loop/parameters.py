"""How long the loop runs, on how large a market, and how its outlets are split."""

from dataclasses import dataclass, field

from poplift.sources.market.parameters import Fault, MarketParameters

# What a feed does every day: a tenth of the lines comes two weeks late, three in a hundred come twice.
DIRTY_FEED = (Fault("late_feed", 1, 0.10), Fault("duplicated_feed", 1, 0.03))


@dataclass(frozen=True, kw_only=True)
class LoopParameters:
    """A history under account managers, then weeks in which the platform decides for its share of the outlets."""

    outlets: int = 120
    own_ppgs: int = 5
    history_weeks: int = 52
    weeks: int = 52
    refit_every: int = 4  # weeks between two fits of the effects
    held_out: float = (
        0.3  # share of outlets that account managers keep, for ever: what the platform is measured against
    )
    exploration: float = 0.08  # share of the platform's cells drawn at random
    execution: float = 0.85  # share of decisions that outlets carry out
    soiled: float = 0.005  # share of POS lines that are broken on their way
    faults: tuple[Fault, ...] = field(default=DIRTY_FEED)

    def share_late(self) -> float:
        """Share of the POS lines that come late."""
        return self.market().fault("late_feed", self.history_weeks) or 0.0

    def market(self) -> MarketParameters:
        """The market that is played."""
        return MarketParameters(
            outlets=self.outlets,
            own_ppgs=self.own_ppgs,
            weeks=self.history_weeks + self.weeks,
            faults=self.faults,
        )
