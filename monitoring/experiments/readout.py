"""What an experiment showed so far: comparable arms first, then effect, guardrails, execution and verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitoring.experiments.cuped import TooFewOutletsError, adjusted_difference
from monitoring.experiments.execution import Execution, execution
from monitoring.experiments.guardrails import Guardrail, guard, spill_over
from monitoring.experiments.outcomes import OutcomeError, Weekly, before, weekly
from monitoring.experiments.sample_ratio import SampleRatio, sample_ratio
from monitoring.experiments.verdict import Verdict, decide
from poplift.assignment import TREATMENT
from poplift.confidence import Estimate, sequence_multiplier
from poplift.launches import Launch
from poplift.statistics import Interval


@dataclass(frozen=True)
class Evidence:
    """What is known of the outlets: outcomes per week, what was run, which arm was served, and who is whose neighbour.

    `outcomes` has outlet_id, week, transactions (of the activation's whole own portfolio) and any guarded metric, also
    of the weeks before; `reported` has outlet_id, week, activation.
    """

    outcomes: pd.DataFrame
    reported: pd.DataFrame | None = None
    served: Mapping[str, str] | None = None
    neighbours: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True)
class Effect:
    """Net transactions per outlet and week with the activation, and those of the weeks afterwards alone."""

    estimate: Estimate
    interval: Interval
    multiplier: float
    control_mean: float
    variance_removed: float
    afterwards: Interval | None


@dataclass(frozen=True)
class Readout:
    """Everything of one look; `effect` is None where the arms are not comparable or it is not time to look."""

    record: Launch
    weeks_with: int
    weeks_after: int
    ratio: SampleRatio
    effect: Effect | None
    guardrails: tuple[Guardrail, ...]
    execution: Execution | None
    outside: int  # rows of outlets that are in no arm
    verdict: Verdict

    @property
    def weeks_observed(self) -> int:
        """Weeks seen since the first one, those afterwards included."""
        return self.weeks_with + self.weeks_after

    @property
    def is_final(self) -> bool:
        """Whether all weeks are in, those afterwards included."""
        return self.weeks_observed == self.record.weeks + self.record.weeks_after


def read_out(record: Launch, evidence: Evidence) -> Readout:
    """Look at an experiment; the same evidence gives the same answer, however often it is asked.

    Intention to treat: outlets count in the arm they were assigned to, whatever they ran. Raises OutcomeError where
    no week of the experiment is in, fewer than four weeks came before, or the outcomes are malformed.
    """
    metric = weekly(evidence.outcomes)
    weeks = [w for w in metric.weeks if record.first_week <= w < record.first_week + record.weeks + record.weeks_after]
    if not weeks:
        raise OutcomeError(
            f"experiment {record.name}: no outcomes since its first week {record.first_week}; the newest is of week "
            f"{metric.weeks[-1]}. Wait for the week's sales, or run `poplift ingest`"
        )
    _refuse_gaps(record, weeks)
    known = set(metric.outlets)
    seen = _complete(metric.only(o for o in record.arms if o in known), weeks[-1])
    ratio = sample_ratio(record.arms, frozenset(seen.outlets), share=record.share, served=evidence.served)
    with_activation = min(len(weeks), record.weeks)
    planned = record.weeks + record.weeks_after
    is_final = len(weeks) == planned
    done = execution(evidence.reported, record, last_week=weeks[-1])
    effect: Effect | None = None
    guardrails: tuple[Guardrail, ...] = ()
    if not ratio.is_broken and (is_final or record.looks == "weekly"):
        multiplier = sequence_multiplier(len(weeks), planned=planned) if record.looks == "weekly" else None
        try:
            effect, guardrails = _measure(record, evidence, seen, weeks, multiplier)
        except TooFewOutletsError as error:
            raise OutcomeError(f"experiment {record.name}: {error}") from error
    return Readout(
        record=record,
        weeks_with=with_activation,
        weeks_after=len(weeks) - with_activation,
        ratio=ratio,
        effect=effect,
        guardrails=guardrails,
        execution=done,
        outside=int((~evidence.outcomes["outlet_id"].isin(list(record.arms))).sum()),
        verdict=decide(
            ratio=ratio,
            effect=effect.interval if effect else None,
            guardrails=guardrails,
            execution=done,
            weeks_left=planned - len(weeks),
        ),
    )


def _measure(
    record: Launch, evidence: Evidence, seen: Weekly, weeks: list[int], multiplier: float | None
) -> tuple[Effect, tuple[Guardrail, ...]]:
    treated = _treated(record, seen)
    covariates = before(seen, record.first_week)
    with_activation = min(len(weeks), record.weeks)
    outcome = seen.between(weeks[0], weeks[-1]).sum(axis=1) / with_activation
    estimate = adjusted_difference(outcome, treated, covariates)
    interval = estimate.interval(multiplier=multiplier)
    plain = adjusted_difference(outcome, treated).standard_error
    width = multiplier or (interval.high - interval.low) / 2 / max(estimate.standard_error, 1e-12)
    effect = Effect(
        estimate=estimate,
        interval=interval,
        multiplier=width,
        control_mean=float(outcome[~treated].mean()),
        variance_removed=1 - (estimate.standard_error / plain) ** 2 if plain else 0.0,
        afterwards=_afterwards(record, seen, weeks[-1], multiplier),
    )
    guarded = guard(evidence.outcomes, record, seen.outlets, multiplier=multiplier)
    beside = spill_over(seen, outcome, record, evidence.neighbours, multiplier=multiplier)
    return effect, (*guarded, beside)


def _afterwards(record: Launch, seen: Weekly, last_week: int, multiplier: float | None) -> Interval | None:
    """The dip: the difference in the weeks after the activation, per week."""
    later = seen.between(record.first_week + record.weeks, last_week)
    if not later.shape[1]:
        return None
    treated, covariates = _treated(record, seen), before(seen, record.first_week)
    return adjusted_difference(later.mean(axis=1), treated, covariates).interval(multiplier=multiplier)


def _treated(record: Launch, seen: Weekly) -> NDArray[np.bool_]:
    return np.array([record.arms[o] == TREATMENT for o in seen.outlets])


def _complete(metric: Weekly, last_week: int) -> Weekly:
    """Outlets that have every week until the last one looked at."""
    until = metric.between(metric.weeks[0], last_week)
    return metric.only(o for o, row in zip(metric.outlets, until, strict=True) if np.isfinite(row).all())


def _refuse_gaps(record: Launch, weeks: list[int]) -> None:
    absent = sorted(set(range(record.first_week, weeks[-1] + 1)) - set(weeks))
    if absent:
        raise OutcomeError(
            f"experiment {record.name}: week {', '.join(map(str, absent))} has no outcomes at all although a later one "
            "has; ingest it before reading"
        )
