"""What a simulated market is made of: sizes, effects, behaviour of account managers, and faults on demand."""

from dataclasses import dataclass
from typing import Literal

FaultKind = Literal[
    "display_effect",  # the display effect is multiplied by `size`
    "price_sensitivity",  # the elasticity is multiplied by `size`
    "new_outlets",  # the last `size` share of the outlets opens only then
    "season_shift",  # the season comes `size` weeks later
    "cases_for_units",  # one banner reports cases of `size` units
    "late_feed",  # a `size` share of the lines becomes known two weeks late
    "missing_feed",  # a `size` share of the outlet-weeks is never reported
    "duplicated_feed",  # a `size` share of the lines is sent twice
    "display_not_executed",  # a `size` share of the planned displays never stands
    "spill_over",  # an outlet loses `size` of the lift of its neighbours
    "competitor_reacts",  # competitors answer a cut with `size` of its depth
]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong from week `onset` on; the kind is the label that monitoring is judged by."""

    kind: FaultKind
    onset: int
    size: float


@dataclass(frozen=True, kw_only=True)
class MarketParameters:
    """Sizes and effects; effects are on the log of expected transactions unless a comment says otherwise.

    The defaults match shares of promoted weeks and depth of the soft drinks of The Complete Journey; at
    `mean_transactions=0.3`, what a panel of 2,500 households sees, the share of zero cells as well.
    """

    outlets: int = 400
    own_ppgs: int = 5
    competing_ppgs: int = 3
    weeks: int = 104
    mean_transactions: float = 6.0  # baskets per outlet, ppg and week without activation

    outlet_spread: float = 0.55  # sd of outlet size
    ppg_spread: float = 0.8
    affinity_spread: float = 0.4  # outlet x ppg
    noise_memory: float = 0.6  # AR(1)
    noise: float = 0.2  # sd of the AR(1) innovations
    dispersion: float = 6.0  # shape of the negative binomial; larger is closer to Poisson
    season: float = 0.12
    holiday: float = 0.12

    elasticity: float = -2.6  # on log(1 - depth)
    display: float = 0.35
    mailer: float = 0.65
    both: float = -0.1  # display and mailer together are less than their sum
    coupon: float = 0.15
    heterogeneity: float = 1.0  # 0: every outlet and ppg responds alike
    unexplained: float = 0.03  # sd of effects that no attribute of the outlet tells

    dip: tuple[float, ...] = (0.10, 0.05)  # share of a lift that is missing one, two weeks later
    switching: float = 0.15  # share of a lift that the rest of the own portfolio loses
    competition: float = 0.15  # share of the competitors' mean lift that the own portfolio loses

    exploration: float = 0.10  # share of cells drawn at random with logged propensity
    hidden_confounding: float = 0.0  # weight of a factor that managers see and the data does not hold
    is_censored: bool = True  # sales end with the stock on hand
    flag_sensitivity: float = 0.9  # share of empty shelves that the availability flag reports
    flag_false_alarms: float = 0.03  # share of full shelves reported empty
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a market that cannot be played."""
        if self.outlets < 4 or self.own_ppgs < 2 or self.competing_ppgs < 1 or self.weeks < 1:
            raise ValueError("a market needs at least 4 outlets, 2 own ppgs, 1 competing ppg and 1 week")
        if not 0 <= self.exploration <= 1:
            raise ValueError(f"exploration={self.exploration}: it is a share of cells, 0 to 1")

    @property
    def ppgs(self) -> int:
        """Own and competing ppgs; the own ones come first."""
        return self.own_ppgs + self.competing_ppgs

    def fault(self, kind: FaultKind, week: int) -> float | None:
        """Size of a fault in a week; None where it has not begun."""
        sizes = [fault.size for fault in self.faults if fault.kind == kind and fault.onset <= week]
        return sizes[-1] if sizes else None
