"""From entities to results, with no HTTP in sight: read, plan, score, choose, explain."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from serving.metrics import Metrics
from serving.online import (
    BASE_PRICE,
    Entity,
    FeatureReader,
    OnlineRows,
    coming_week_start_day,
    model_inputs,
    read_rows,
)
from serving.policy import Activation, Choice, Floats, Predictions, rank
from serving.reasons import Reason, reasons
from serving.release import LoadedRelease
from serving.scoring import score


class UnknownEntityError(Exception):
    """An outlet, a ppg or their pair is not known; `problems` has place and reason of each."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(dict.fromkeys(reason for _, reason in problems[:5])))
        self.problems = list(problems)


@dataclass(frozen=True)
class Context:
    """What one request works with: it keeps its release although a new one may be swapped in meanwhile."""

    release: LoadedRelease
    reader: FeatureReader
    business_time: datetime
    metrics: Metrics

    def rows(self, entities: Sequence[Entity]) -> OnlineRows:
        """Online features of entities, judged at business time and counted."""
        read = read_rows(self.reader, entities, business_time=self.business_time, defaults=self.release.defaults)
        self.metrics.read(read)
        return read


@dataclass(frozen=True)
class DemandResult:
    """n predictions in the order asked, with the model inputs they came from."""

    online: OnlineRows
    inputs: pd.DataFrame
    predictions: Predictions
    price: Floats


@dataclass(frozen=True)
class RecommendationResult:
    """Choices in rank order; `predictions` is ppg x candidate, `inputs` the chosen row of every choice."""

    online: OnlineRows
    predictions: Predictions
    price: Floats
    choices: list[Choice]
    inputs: pd.DataFrame
    reasons: list[list[Reason]]
    not_decided: list[tuple[str, str]]


def demand(context: Context, entities: Sequence[Entity], plans: Sequence[Activation]) -> DemandResult:
    """Predict every (entity, plan); raises UnknownEntityError and StoreUnavailableError."""
    online = context.rows(entities)
    unknown = [(f"row {row}", reason) for row, reason in enumerate(online.unknown) if reason is not None]
    if unknown:
        raise UnknownEntityError(unknown)
    inputs = model_inputs(online.frame, plans, week_start_day=coming_week_start_day(context.business_time))
    return DemandResult(
        online=online,
        inputs=inputs,
        predictions=score(context.release, inputs),
        price=planned_price(online.frame, plans),
    )


def recommend(context: Context, outlet_id: str, ppg_ids: Sequence[str] | None, *, limit: int) -> RecommendationResult:
    """Choose an activation for every ppg of an outlet and explain the `limit` best.

    Without `ppg_ids` all ppgs of the policy are considered and those the outlet has no history of are listed
    as not decided; a ppg asked for by name must be known. Raises UnknownEntityError, StoreUnavailableError.
    """
    policy = context.release.policy
    # the answer must not depend on the order of the question
    asked = sorted(set(policy.ppgs if ppg_ids is None else ppg_ids))
    online = context.rows([{"outlet_id": outlet_id, "ppg_id": ppg} for ppg in asked])
    unknown = [(row, reason) for row, reason in enumerate(online.unknown) if reason is not None]
    if unknown and (ppg_ids is not None or len(unknown) == len(asked)):
        # an outlet nobody knows is one reason, not one per ppg
        raise UnknownEntityError([("request", reason) for reason in dict.fromkeys(reason for _, reason in unknown)])
    known = np.array([reason is None for reason in online.unknown])
    rows = np.flatnonzero(known)
    count = len(policy.candidates)
    expanded = online.frame.iloc[np.repeat(rows, count)].reset_index(drop=True)
    plans = list(policy.candidates) * len(rows)
    inputs = model_inputs(expanded, plans, week_start_day=coming_week_start_day(context.business_time))
    flat = score(context.release, inputs)
    shape = (len(rows), count)
    predictions = Predictions(
        flat.transactions.reshape(shape),
        flat.units.reshape(shape),
        flat.low.reshape(shape),
        flat.high.reshape(shape),
    )
    base_price = online.frame[BASE_PRICE].to_numpy()[rows]
    choices = rank(policy, [asked[row] for row in rows], predictions, base_price)[:limit]
    chosen = inputs.iloc[[choice.row * count + choice.chosen for choice in choices]]
    return RecommendationResult(
        online=online.take(rows),
        predictions=predictions,
        price=planned_price(expanded, plans).reshape(shape),
        choices=choices,
        inputs=chosen,
        reasons=reasons(context.release, chosen),
        not_decided=[(asked[row], reason) for row, reason in unknown],
    )


def planned_price(rows: pd.DataFrame, plans: Sequence[Activation]) -> Floats:
    """Price per unit in USD under every plan; NaN where the base price is not known."""
    cut = np.array([plan.price_cut for plan in plans])
    return np.asarray(rows[BASE_PRICE].to_numpy() * (1.0 - cut), dtype=np.float64)
