"""The value of a policy that did not run, from logged propensities: doubly robust, two others beside it, or a refusal.

A log is rows of (outlet, ppg, week): what was run, with which probability, and what was sold. The value is per row.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poplift.confidence import Floats, cluster_bootstrap
from poplift.statistics import Interval

LEAST_EFFECTIVE_SHARE = 0.10
SWITCH_ABOVE = 10.0
TOLERANCE = 1e-6


class OffPolicyError(Exception):
    """The log cannot tell the value of this policy, or is no log; the message says why and what would help."""


@dataclass(frozen=True)
class Log:
    """n logged decisions of K candidates: reward (n,), chosen (n,), propensities (n, K), outlet and week (n,)."""

    reward: Floats
    chosen: NDArray[np.intp]
    propensities: Floats
    outlet: NDArray[np.generic]
    week: NDArray[np.generic]

    def __post_init__(self) -> None:
        """Refuse a log that contradicts itself."""
        rows = len(self.reward)
        lengths = {len(self.chosen), len(self.propensities), len(self.outlet), len(self.week)}
        if lengths != {rows} or rows == 0 or self.propensities.ndim != 2:
            raise OffPolicyError(f"log: {rows} rewards and columns of {sorted(lengths)} rows; all are of one length")
        if not np.isfinite(self.reward).all() or not np.isfinite(self.propensities).all():
            raise OffPolicyError("log: a reward or propensity is not finite; leave out decisions without an outcome")
        if np.abs(self.propensities.sum(axis=1) - 1).max() > TOLERANCE:
            raise OffPolicyError("log: propensities of a decision do not add up to one over its candidates")
        if self.of_chosen(self.propensities).min() <= 0:
            raise OffPolicyError("log: something was run with propensity 0; it was not drawn as logged")

    def of_chosen(self, values: Floats) -> Floats:
        """The column of every row that was run, (n,)."""
        found: Floats = np.take_along_axis(values, self.chosen[:, None], axis=1)[:, 0]
        return found


@dataclass(frozen=True)
class Value:
    """Estimated value per decision of one policy, by three estimators, and how much of the log speaks for it."""

    doubly_robust: Interval
    switch: Interval
    self_normalised: Interval
    effective_share: float


def effective_share(log: Log, policy: Floats) -> float:
    """Kish's effective sample size of the importance weights as a share of the log, 0 to 1.

    Its expectation given the propensities, so that a lucky draw does not pass: 1 / mean of sum of policy² / propensity.
    """
    _checked(log, policy)
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = np.where(policy > 0, policy**2 / log.propensities, 0.0).sum(axis=1)
    return float(1.0 / squares.mean())


def evaluate(
    log: Log, policy: Floats, predicted: Floats, *, draws: int = 1000, level: float = 0.95, seed: int
) -> Value:
    """Value of `policy` (n, K) probabilities on the logged rows; `predicted` (n, K) is cross-fitted, row by row.

    Doubly robust / AIPW (Dudík, Langford and Li 2011; Robins, Rotnitzky and Zhao 1994), switch-DR (Wang, Agarwal and
    Dudík 2017) and self-normalised importance sampling (Swaminathan and Joachims 2015). Intervals are of the value on
    these outlets and weeks, by resampling whole outlets; what the predictions miss of an outlet for good counts as
    its noise, which makes them wider rather than narrower. Raises OffPolicyError below 10 % effective sample.
    """
    share = effective_share(log, policy)
    if share < LEAST_EFFECTIVE_SHARE:
        raise OffPolicyError(
            f"off-policy: the effective sample is {share:.1%} of {len(log.reward):,} decisions, at least "
            f"{LEAST_EFFECTIVE_SHARE:.0%} is needed: the policy does what was hardly ever run. Explore more, or "
            "test it in an experiment"
        )
    weight = log.of_chosen(policy) / log.of_chosen(log.propensities)
    direct = (policy * predicted).sum(axis=1)
    residual = log.reward - log.of_chosen(predicted)
    options = {"cluster": log.outlet, "draws": draws, "level": level, "seed": seed}

    def doubly_robust(weights: Floats) -> Interval:
        # The direct part is of the very rows that are asked about: only the correction is uncertain.
        terms = np.column_stack([weights * residual, np.ones_like(weights)])
        correction = cluster_bootstrap(terms, statistic=lambda s: s[..., 0] / s[..., 1], **options)  # type: ignore[arg-type]
        return _shifted(correction, float(direct.mean()))

    kept = np.where(weight <= SWITCH_ABOVE, weight, 0.0)
    normalised = np.column_stack([weight * log.reward, weight])
    return Value(
        doubly_robust=doubly_robust(weight),
        switch=doubly_robust(kept),
        self_normalised=cluster_bootstrap(normalised, statistic=_ratio, **options),  # type: ignore[arg-type]
        effective_share=share,
    )


def _ratio(sums: Floats) -> Floats:
    ratio: Floats = sums[..., 0] / np.where(sums[..., 1] == 0, np.nan, sums[..., 1])
    return ratio


def _shifted(interval: Interval, by: float) -> Interval:
    return Interval(interval.estimate + by, interval.low + by, interval.high + by, interval.level)


def _checked(log: Log, policy: Floats) -> None:
    if policy.shape != log.propensities.shape or not np.isfinite(policy).all() or policy.min() < 0:
        raise OffPolicyError(
            f"off-policy: a policy is probabilities of shape {log.propensities.shape}, none below zero"
        )
    if np.abs(policy.sum(axis=1) - 1).max() > TOLERANCE:
        raise OffPolicyError("off-policy: probabilities of a policy do not add up to one in every row")
    never = (policy > 0) & (log.propensities <= 0)
    if never.any():
        raise OffPolicyError(
            f"off-policy: in {int(never.any(axis=1).sum()):,} rows the policy may run what could not be run "
            "(propensity 0); nothing in the log speaks of it"
        )
