"""From entities to results, with no HTTP in sight: read, plan, score, choose, explain."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import numpy as np

from poplift.activation import Activation
from poplift.launches import Launch
from poplift.market_week import decided_week
from serving.exploration import Assigned, assign
from serving.online import (
    BASE_PRICE,
    Entity,
    FeatureReader,
    Mask,
    OnlineRows,
    StoreUnavailableError,
    coming_week_start_day,
    model_inputs,
    planned_price,
    read_rows,
    rows_without_store,
)
from serving.policy import Choice, Floats, Policy, Predictions, rank
from serving.reasons import Reason, reasons
from serving.release import LoadedRelease
from serving.scoring import score_again
from serving.stages import Stage


class UnknownEntityError(Exception):
    """An outlet, a ppg or their pair is not known; `problems` has place and reason of each."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(dict.fromkeys(reason for _, reason in problems[:5])))
        self.problems = list(problems)


class Measures(Protocol):
    """What is counted and timed while a request is decided; `serving.metrics.Metrics` tells it to whoever looks."""

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Time a part of an answer."""

    def read(self, rows: OnlineRows) -> None:
        """Record ages and gaps of one online read."""

    def store_failed(self) -> None:
        """Count a read that failed or came too late."""


@dataclass(frozen=True)
class Context:
    """What one request works with: it keeps its release although a new one may be swapped in meanwhile."""

    release: LoadedRelease
    reader: FeatureReader
    business_time: datetime
    metrics: Measures
    launches: Sequence[Launch] = ()

    @property
    def week_start(self) -> date:
        """First local day of the week that is decided."""
        return decided_week(self.business_time)

    def rows(self, entities: Sequence[Entity], *, refuse: bool = False) -> OnlineRows:
        """Online features of entities, judged at business time and counted.

        A store that cannot be read, or has lost everything, leaves the defaults of the release; with `refuse` it
        raises StoreUnavailableError.
        """
        with self.metrics.stage("feature_read"):
            try:
                read = self._read(entities)
            except StoreUnavailableError:
                if refuse:
                    raise
                self.metrics.store_failed()
                read = rows_without_store(entities, defaults=self.release.defaults)
        self.metrics.read(read)
        return read

    def _read(self, entities: Sequence[Entity]) -> OnlineRows:
        read = self._judged(entities)
        if read.nothing_known and self._judged([self.release.policy.sentinel]).nothing_known:
            raise StoreUnavailableError("it is empty: it does not know the sentinel of the release either")
        return read

    def _judged(self, entities: Sequence[Entity]) -> OnlineRows:
        return read_rows(self.reader, entities, business_time=self.business_time, defaults=self.release.defaults)


@dataclass(frozen=True)
class DemandResult:
    """n predictions in the order asked, with the model inputs they came from."""

    online: OnlineRows
    inputs: Floats
    predictions: Predictions
    price: Floats


@dataclass(frozen=True)
class RecommendationResult:
    """Choices in rank order; `predictions` is ppg x candidate, `inputs` the chosen row of every choice."""

    online: OnlineRows
    predictions: Predictions
    price: Floats
    choices: list[Choice]  # as they are run
    assigned: list[Assigned]
    inputs: Floats
    reasons: list[list[Reason]]
    not_decided: list[tuple[str, str]]


def demand(context: Context, entities: Sequence[Entity], plans: Sequence[Activation]) -> DemandResult:
    """Predict every (entity, plan); raises UnknownEntityError, and StoreUnavailableError where the policy says so."""
    online = context.rows(entities, refuse=context.release.policy.degradation.demand == "refuse")
    unknown = [(f"row {row}", reason) for row, reason in enumerate(online.unknown) if reason is not None]
    if unknown:
        raise UnknownEntityError(unknown)
    with context.metrics.stage("model"):
        inputs = model_inputs(online.cells, plans, week_start_day=coming_week_start_day(context.business_time))
        predictions = score_again(context.release, inputs)
    return DemandResult(
        online=online,
        inputs=inputs,
        predictions=predictions,
        price=planned_price(online.cells, plans),
    )


def recommend(
    context: Context,
    outlet_id: str,
    ppg_ids: Sequence[str] | None,
    *,
    limit: int,
    only: Collection[str] | None = None,
) -> RecommendationResult:
    """Choose an activation for every ppg of an outlet and explain the `limit` best, or those of the ppgs in `only`.

    Without `ppg_ids` all ppgs of the policy are considered and those the outlet has no history of are listed
    as not decided; a ppg asked for by name must be known. Raises UnknownEntityError, and StoreUnavailableError
    where the policy says so.
    """
    policy = context.release.policy
    # the answer must not depend on the order of the question
    asked = sorted(set(policy.ppgs if ppg_ids is None else ppg_ids))
    entities = [{"outlet_id": outlet_id, "ppg_id": ppg} for ppg in asked]
    online = context.rows(entities, refuse=policy.degradation.recommendations == "refuse")
    unknown = [(row, reason) for row, reason in enumerate(online.unknown) if reason is not None]
    if unknown and (ppg_ids is not None or len(unknown) == len(asked)):
        # an outlet nobody knows is one reason, not one per ppg
        raise UnknownEntityError([("request", reason) for reason in dict.fromkeys(reason for _, reason in unknown)])
    known = np.array([reason is None for reason in online.unknown])
    rows = np.flatnonzero(known)
    count = len(policy.candidates)
    expanded = online.cells[np.repeat(rows, count)]
    each = np.tile(np.arange(count), len(rows))
    week_start_day = coming_week_start_day(context.business_time)
    with context.metrics.stage("model"):
        inputs = model_inputs(expanded, policy.candidates, chosen=each, week_start_day=week_start_day)
        flat = score_again(context.release, inputs)
    shape = (len(rows), count)
    predictions = Predictions(
        flat.transactions.reshape(shape),
        flat.units.reshape(shape),
        flat.low.reshape(shape),
        flat.high.reshape(shape),
    )
    base_price = online.column(BASE_PRICE)[rows]
    with context.metrics.stage("policy"):
        usable = _usable(online, policy)[rows]
        ranked = rank(policy, [asked[row] for row in rows], predictions, base_price, usable=usable)
        ranked = ranked[:limit] if only is None else [choice for choice in ranked if choice.ppg_id in only]
        assigned = assign(policy, ranked, outlet_id=outlet_id, week=context.week_start, launches=context.launches)
    choices = [one.choice for one in assigned]
    chosen = inputs[[choice.row * count + choice.chosen for choice in choices]]
    with context.metrics.stage("explain"):
        explained = reasons(context.release, chosen)
    return RecommendationResult(
        online=online.take(rows) if unknown else online,
        predictions=predictions,
        price=planned_price(expanded, policy.candidates, chosen=each).reshape(shape),
        choices=choices,
        assigned=assigned,
        inputs=chosen,
        reasons=explained,
        not_decided=[(asked[row], reason) for row, reason in unknown],
    )


def _usable(online: OnlineRows, policy: Policy) -> Mask:
    """Rows for which an activation may be chosen: money is not spent on defaults that the policy does not allow."""
    if not online.degraded.any():
        return ~online.degraded
    needed = [replaced for view, replaced in online.unusable.items() if view not in policy.degradation.spend_without]
    return np.asarray(~np.logical_or.reduce([np.zeros_like(online.degraded), *needed]))
