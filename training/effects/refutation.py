"""Attempts to refute the estimate: treatments that cannot have worked, a cause that is none, fewer outlets."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from math import nan

import numpy as np

from training.effects.estimate import UNSETTLED, Estimate, EstimateError, estimate
from training.effects.observations import COMPONENTS, Floats, Observations

MOST_CELLS = 40_000  # a refutation needs no more, and each is a fit of its own
FURTHEST = 3.0  # standard errors
SUBSET = 0.6
FEWEST = 16  # outlets


@dataclass(frozen=True)
class Refutation:
    """One attempt: what it tried, the largest deviation in standard errors, and whether the estimate stands.

    `failed` says why an attempt could not be made: then nothing is known of whether the estimate would stand.
    """

    name: str
    tried: str
    component: str
    deviation: float
    stands: bool
    failed: str = ""


def refute(observations: Observations, *, seed: int, threads: int) -> tuple[Refutation, ...]:
    """Four attempts on at most so many outlets as MOST_CELLS allows, empty shelves not corrected for.

    Placebo: the activations of other weeks, moved round the panel for all cells together, and those of a quarter
    later; both must do nothing. A random attribute must change nothing. A part of the outlets must agree with all of
    the sample. An attempt whose own fit fails is reported as not made, and the others go on.
    """
    random = np.random.default_rng([seed, 5])
    weeks, outlets, ppgs = observations.shape
    sample = _outlets(observations, random, min(outlets, max(MOST_CELLS // (weeks * ppgs), FEWEST)))

    def fit(panel: Observations) -> Estimate:
        found = estimate(panel, seed=seed, threads=threads, is_censored=False)
        if not found.is_settled:
            raise EstimateError(UNSETTLED)
        return found

    @cache
    def whole() -> Estimate:
        return fit(sample)

    moved = int(random.integers(weeks // 3, 2 * weeks // 3))
    attempts: list[tuple[str, str, Callable[[], tuple[Floats, Floats]]]] = [
        ("placebo", "activations of other weeks", lambda: _against_zero(fit(_rolled(sample, moved)))),
        ("future", "activations of a quarter later", lambda: _against_zero(fit(_rolled(sample, -13)))),
        (
            "random common cause",
            "an attribute drawn at random",
            lambda: _change(whole(), fit(_random_cause(sample, random))),
        ),
        (
            "subset",
            f"{SUBSET:.0%} of the outlets",
            lambda: _change(whole(), fit(_subset(sample, random)), is_subset=True),
        ),
    ]
    return tuple(_judged(*attempt) for attempt in attempts)


def _judged(name: str, tried: str, attempt: Callable[[], tuple[Floats, Floats]]) -> Refutation:
    try:
        difference, error = attempt()
    except EstimateError as failed:
        return Refutation(name, tried, "none", nan, stands=False, failed=str(failed))
    deviations = np.abs(difference) / np.maximum(error, 1e-9)
    worst = int(deviations.argmax())
    return Refutation(name, tried, COMPONENTS[worst], float(deviations[worst]), bool(deviations[worst] < FURTHEST))


def _means(found: Estimate) -> tuple[Floats, Floats]:
    pairs = np.array([found.coefficient(name) for name in COMPONENTS])
    return pairs[:, 0], pairs[:, 1]


def _against_zero(found: Estimate) -> tuple[Floats, Floats]:
    return _means(found)


def _change(whole: Estimate, other: Estimate, *, is_subset: bool = False) -> tuple[Floats, Floats]:
    """Difference of the two; on a subset the spread of the difference is that of the two fits (Hausman 1978)."""
    (before, error), (after, wider) = _means(whole), _means(other)
    spread = np.sqrt(np.maximum(wider**2 - error**2, (0.5 * wider) ** 2)) if is_subset else error
    return after - before, spread


def _outlets(observations: Observations, random: np.random.Generator, count: int) -> Observations:
    chosen = np.sort(random.choice(observations.shape[1], count, replace=False))
    cubes = {
        name: getattr(observations, name)[:, chosen]
        for name in (
            "observed",
            "transactions",
            "units",
            "in_stock",
            "treatment",
            "coupon",
            "competitor_depth",
            "explored",
            "propensity",
        )
    }
    return replace(
        observations,
        **cubes,
        outlets=tuple(observations.outlets[at] for at in chosen),
        attributes=observations.attributes[chosen],
    )


def _subset(observations: Observations, random: np.random.Generator) -> Observations:
    return _outlets(observations, random, max(round(SUBSET * observations.shape[1]), 8))


def _rolled(observations: Observations, weeks: int) -> Observations:
    """Treatments moved round the year; what really ran is the offset of sales no more, so draws are forgotten too."""
    moved = np.roll(observations.treatment, weeks, axis=0)
    return replace(
        observations,
        treatment=moved,
        explored=np.zeros_like(observations.explored),
        propensity=np.full_like(observations.propensity, np.nan),
    )


def _random_cause(observations: Observations, random: np.random.Generator) -> Observations:
    drawn = random.normal(size=(observations.shape[1], 1))
    return replace(
        observations,
        attributes=np.concatenate([observations.attributes, drawn], axis=1),
        attribute_names=(*observations.attribute_names, "random"),
    )
