"""Who gets what, by a keyed hash of names: holdout, canary, the arms of an experiment, the draw of exploration.

Nothing is stored and nothing is random: the same names and salt give the same answer in every process and version.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import floor
from typing import Final, Literal

HOLDOUT_SHARE = 0.05  # of the outlets, for ever: what the platform as a whole brings is measured against them
EXPLORATION_SHARE = 0.05  # of the decisions, drawn at random among all candidates
SALT = "poplift-1"  # another salt is another holdout: a new one ends the permanence of the old
Arm = Literal["policy", "explored", "holdout", "control", "treatment"]
HOLDOUT: Final = "holdout"
EXPLORED: Final = "explored"
CHOSEN: Final = "policy"
CONTROL: Final = "control"
TREATMENT: Final = "treatment"
_APART = "\x1f"  # no identifier holds it, so no two lists of names are spelled alike


def position(*names: str, purpose: str, salt: str = SALT) -> float:
    """Place of the names on [0, 1), uniform over names; two purposes have nothing to do with each other."""
    digest = blake2b(_APART.join((purpose, *names)).encode(), key=salt.encode()[:64], digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def is_held_out(outlet_id: str, *, share: float = HOLDOUT_SHARE, salt: str = SALT) -> bool:
    """Whether the outlet is in the permanent holdout; a larger share keeps every outlet of a smaller one."""
    return position(outlet_id, purpose="holdout", salt=salt) < share


def is_in_canary(outlet_id: str, *, release_id: str, share: float, salt: str = SALT) -> bool:
    """Whether a canary of this release answers the outlet; a larger share keeps every outlet of a smaller one."""
    return position(release_id, outlet_id, purpose="canary", salt=salt) < share


def assign_arms(
    strata: Mapping[str, str], *, experiment: str, share: float, salt: str = SALT
) -> dict[str, Literal["control", "treatment"]]:
    """Arm of every outlet, `treatment` with probability `share`; `strata` is outlet → stratum.

    Within a stratum outlets are ordered by hash and every 1/share-th is treated from a hashed start on (systematic
    sampling): each outlet has the same probability and the arms differ by less than one outlet in every stratum.
    """
    if not 0 < share < 1:
        raise ValueError(f"experiment {experiment}: the treated share is {share}; it lies between 0 and 1")
    arms: dict[str, Literal["control", "treatment"]] = {}
    for stratum in sorted(set(strata.values())):
        members = [outlet for outlet, of in strata.items() if of == stratum]
        members.sort(key=lambda outlet: (position(experiment, outlet, purpose="arm", salt=salt), outlet))
        start = position(experiment, stratum, purpose="start", salt=salt)
        for place, outlet in enumerate(members):
            treated = floor((place + 1) * share + start) > floor(place * share + start)
            arms[outlet] = TREATMENT if treated else CONTROL
    return arms


@dataclass(frozen=True)
class Draw:
    """What is run: place among the candidates, probability of each of them, and whether the place was drawn."""

    chosen: int
    propensities: tuple[float, ...]
    arm: Arm

    @property
    def propensity(self) -> float:
        """Probability with which what is run was to be run."""
        return self.propensities[self.chosen]


def explore(
    preferred: int, *, candidates: int, names: Sequence[str], share: float = EXPLORATION_SHARE, salt: str = SALT
) -> Draw:
    """The preferred candidate, or with probability `share` one drawn uniformly among all of them.

    `names` is what is decided (outlet, ppg, week): asked again, the same is drawn. Every candidate can be drawn, so
    every propensity is at least share / candidates.
    """
    if not 0 <= preferred < candidates or not 0 <= share <= 1:
        raise ValueError(f"explore: candidate {preferred} of {candidates} with share {share} is not a choice")
    place = position(*names, purpose="explore", salt=salt)
    explored = place < share
    chosen = min(int(place / share * candidates), candidates - 1) if explored else preferred
    return Draw(chosen, propensities(preferred, candidates=candidates, share=share), EXPLORED if explored else CHOSEN)


@lru_cache(maxsize=256)
def propensities(preferred: int, *, candidates: int, share: float) -> tuple[float, ...]:
    """Probability of every candidate where `preferred` is run unless one is drawn; they add up to one."""
    return tuple(share / candidates + (1 - share) * (k == preferred) for k in range(candidates))


def certain(chosen: int, *, candidates: int, arm: Arm) -> Draw:
    """What runs without a draw: the holdout's none, or the arm of an experiment."""
    return Draw(chosen, propensities(chosen, candidates=candidates, share=0.0), arm)
