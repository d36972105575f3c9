"""What is run instead of the best guess, on purpose: nothing in the holdout, an experiment's arm, or a random draw."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import structlog

from poplift.activation import NONE
from poplift.assignment import (
    CHOSEN,
    EXPLORED,
    HOLDOUT,
    HOLDOUT_SHARE,
    TREATMENT,
    Draw,
    certain,
    explore,
    is_held_out,
)
from poplift.launches import Launch, LaunchError, read_launches
from serving.policy import Choice, Policy

HELD_OUT = "this outlet is in the permanent holdout: what the platform brings is measured against it"
DRAWN_NONE = "none was drawn at random, to learn what happens without"
log = structlog.get_logger()


class CurrentLaunches:
    """The launched experiments, read again when their folder changes; while they cannot be read, those known before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changed = 0
        self._cause = ""
        self._known: tuple[Launch, ...] = ()

    def get(self) -> tuple[Launch, ...]:
        """All launches, those that are over too."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return ()
        if changed != self._changed:
            try:
                self._known = tuple(read_launches(self._folder))
                self._changed = changed
            except (LaunchError, OSError) as error:
                # tried again at the next question: a file that is put back does not change its folder
                if str(error) != self._cause:
                    self._cause = str(error)
                    log.error("launches_not_read", cause=self._cause)  # noqa: TRY400 # the cause says it all
        return self._known


def held_out(outlet_ids: Iterable[str], *, policy: Policy | None) -> list[str]:
    """Those of the permanent holdout by the policy of the release, or by the usual share before the first release."""
    share = HOLDOUT_SHARE if policy is None else policy.holdout_share
    return [outlet for outlet in outlet_ids if is_held_out(outlet, share=share)]


@dataclass(frozen=True)
class Assigned:
    """A choice as it is run, how it came about, and which experiment decided."""

    choice: Choice
    draw: Draw
    experiment: str | None = None


def assign(
    policy: Policy, choices: Sequence[Choice], *, outlet_id: str, week: date, launches: Sequence[Launch]
) -> list[Assigned]:
    """What is run at an outlet in the week that starts on `week`; the order of the choices stays.

    The holdout comes first, then a running experiment, then exploration: a draw by a hash of outlet, ppg and week, so
    that asking again answers the same.
    """
    none = policy.candidates.index(NONE)
    if is_held_out(outlet_id, share=policy.holdout_share):
        draw = certain(none, candidates=len(policy.candidates), arm=HOLDOUT)
        return [Assigned(replace(choice, chosen=none, abstained_because=HELD_OUT), draw) for choice in choices]
    return [_assign(policy, choice, outlet_id, week, launches) for choice in choices]


def _assign(policy: Policy, choice: Choice, outlet_id: str, week: date, launches: Sequence[Launch]) -> Assigned:
    for record in launches:
        if outlet_id in record.arms and record.runs(ppg_id=choice.ppg_id, day=week):
            names = [candidate.name for candidate in policy.candidates]
            if record.activation in names:
                return _of_experiment(policy, choice, record, outlet_id, names.index(record.activation))
            log.warning("experiment_not_run", experiment=record.name, cause="no candidate of the release's policy")
    if not choice.is_usable:
        return Assigned(choice, certain(choice.chosen, candidates=len(policy.candidates), arm=CHOSEN))
    share = policy.exploration_share
    cell = (outlet_id, choice.ppg_id, week.isoformat())
    draw = explore(choice.chosen, candidates=len(policy.candidates), names=cell, share=share)
    if draw.arm == CHOSEN:
        return Assigned(choice, draw)
    because = DRAWN_NONE if policy.candidates[draw.chosen] == NONE else None
    return Assigned(replace(choice, chosen=draw.chosen, abstained_because=because), draw)


def _of_experiment(policy: Policy, choice: Choice, record: Launch, outlet_id: str, activation: int) -> Assigned:
    """The arm of the outlet, with the probability that the launch gave it."""
    none = policy.candidates.index(NONE)
    arm = record.arms[outlet_id]
    propensities = [0.0] * len(policy.candidates)
    propensities[none], propensities[activation] = 1 - record.share, record.share
    chosen = activation if arm == TREATMENT else none
    because = None if arm == TREATMENT else f"this outlet is in the control arm of the experiment {record.name}"
    draw = Draw(chosen, tuple(propensities), arm)
    return Assigned(replace(choice, chosen=chosen, abstained_because=because), draw, record.name)


def why(assigned: Assigned) -> str:
    """In a sentence, why this is recommended."""
    if assigned.experiment is not None:
        return f"The experiment {assigned.experiment} decides: this outlet is in its {assigned.draw.arm} arm."
    if assigned.draw.arm == EXPLORED:
        return "Drawn at random among all candidates, to learn what they bring."
    return f"{HELD_OUT[0].upper()}{HELD_OUT[1:]}." if assigned.draw.arm == HOLDOUT else "The policy's choice."
