"""Turns results into the answers of the API and the rows of the decision log, one decision id for both."""

from collections.abc import Sequence
from datetime import UTC, date
from typing import Any

import numpy as np
import pandas as pd

from serving.decide import Context, DemandResult, RecommendationResult
from serving.decision_log import decision_row
from serving.online import Entity, OnlineRows, coming_week_start_day
from serving.policy import BASIS, Activation, Choice, Predictions, finite
from serving.schemas import (
    Candidate,
    DemandAnswer,
    DemandPrediction,
    FeatureAge,
    NotDecided,
    ReasonAnswer,
    Recommendation,
    RecommendationAnswer,
    ReleaseAnswer,
)

Rows = list[dict[str, Any]]


def demand_answer(
    context: Context,
    request_id: str,
    entities: Sequence[Entity],
    plans: Sequence[Activation],
    result: DemandResult,
) -> tuple[DemandAnswer, Rows]:
    """Answer and decision rows of POST /v1/demand: the asked activation is the only candidate."""
    rows: list[DemandPrediction] = []
    log: Rows = []
    vectors = _vectors(context, result.inputs)
    for i, (entity, plan) in enumerate(zip(entities, plans, strict=True)):
        numbers = _numbers(result.predictions, i) | {"price_usd": _number(result.price[i])}
        logged = _decision(
            context,
            kind="demand",
            request_id=request_id,
            entity=entity,
            chosen=plan,
            candidates=[{"activation": plan.model_dump(), **numbers}],
            vector=vectors[i],
            online=result.online,
            row=i,
        )
        log.append(logged)
        rows.append(
            DemandPrediction(
                decision_id=logged["decision_id"],
                outlet_id=entity["outlet_id"],
                ppg_id=entity["ppg_id"],
                activation=plan,
                activation_name=plan.name,
                degraded=bool(result.online.degraded[i]),
                flags=list(result.online.flags[i]),
                **numbers,
            )
        )
    return DemandAnswer(**_envelope(context, request_id, result.online), rows=rows), log


def recommendation_answer(
    context: Context, request_id: str, outlet_id: str, result: RecommendationResult
) -> tuple[RecommendationAnswer, Rows]:
    """Answer and decision rows of a recommendation: one decision per returned ppg."""
    recommendations: list[Recommendation] = []
    log: Rows = []
    vectors = _vectors(context, result.inputs)
    for i, choice in enumerate(result.choices):
        candidates = _candidates(context, result, choice)
        entity = {"outlet_id": outlet_id, "ppg_id": choice.ppg_id}
        chosen = candidates[choice.chosen]
        logged = _decision(
            context,
            kind="recommendation",
            request_id=request_id,
            entity=entity,
            chosen=chosen.activation,
            candidates=[candidate.model_dump(exclude={"activation_name"}) for candidate in candidates],
            vector=vectors[i],
            online=result.online,
            row=choice.row,
        )
        log.append(logged)
        recommendations.append(
            Recommendation(
                rank=i + 1,
                decision_id=logged["decision_id"],
                ppg_id=choice.ppg_id,
                recommended=chosen,
                abstained=choice.abstained_because is not None,
                abstained_because=choice.abstained_because,
                reasons=[ReasonAnswer(**vars(reason)) for reason in result.reasons[i]],
                candidates=candidates,
                degraded=bool(result.online.degraded[choice.row]),
                flags=list(result.online.flags[choice.row]),
            )
        )
    answer = RecommendationAnswer(
        **_envelope(context, request_id, result.online),
        outlet_id=outlet_id,
        assumptions=context.release.policy.assumptions,
        recommendations=recommendations,
        not_decided=[NotDecided(ppg_id=ppg, reason=reason) for ppg, reason in result.not_decided],
    )
    return answer, log


def release_answer(context: Context) -> ReleaseAnswer:
    """Which release answers this request."""
    release = context.release
    return ReleaseAnswer(
        id=release.id,
        model_name=release.model_name,
        model_version=release.model_version,
        policy=release.policy.name,
    )


def _candidates(context: Context, result: RecommendationResult, choice: Choice) -> list[Candidate]:
    return [
        Candidate(
            activation=activation,
            activation_name=activation.name,
            price_usd=_number(result.price[choice.row, k]),
            predicted_gain=float(choice.gain[k]),
            assumed_cost_usd=_number(choice.cost_usd[k]),
            net_gain=_number(choice.net_gain[k]),
            **_numbers(result.predictions, (choice.row, k)),
        )
        for k, activation in enumerate(context.release.policy.candidates)
    ]


def _decision(
    context: Context,
    *,
    kind: str,
    request_id: str,
    entity: Entity,
    chosen: Activation,
    candidates: Rows,
    vector: list[float],
    online: OnlineRows,
    row: int,
) -> dict[str, Any]:
    features = dict(zip(context.release.features, vector, strict=True))
    ages = {view: hours[row] for view, hours in online.ages_hours.items()}
    return decision_row(
        kind=kind,
        request_id=request_id,
        business_time=context.business_time.astimezone(UTC).isoformat(),
        week_start=_week_start(context).isoformat(),
        release=release_answer(context).model_dump(),
        entity=entity,
        chosen=chosen.model_dump(),
        candidates=candidates,
        features=finite(features),
        quality={
            "feature_age_hours": finite(ages),
            "degraded": bool(online.degraded[row]),
            "flags": list(online.flags[row]),
        },
    )


def _vectors(context: Context, inputs: pd.DataFrame) -> list[list[float]]:
    """Model inputs row by row, in the order of the release's features."""
    rows: list[list[float]] = inputs[list(context.release.features)].to_numpy(dtype=np.float64).tolist()
    return rows


def _numbers(predictions: Predictions, at: Any) -> dict[str, Any]:
    return {
        "transactions": float(predictions.transactions[at]),
        "transactions_low": float(predictions.low[at]),
        "transactions_high": float(predictions.high[at]),
        "units": float(predictions.units[at]),
    }


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _week_start(context: Context) -> date:
    day: date = np.datetime64(coming_week_start_day(context.business_time), "D").item()
    return day


def _envelope(context: Context, request_id: str, online: OnlineRows) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "release": release_answer(context),
        "business_time": context.business_time.astimezone(UTC),
        "week_start": _week_start(context),
        "basis": BASIS,
        "degraded": bool(online.degraded.any()),
        "feature_ages": [_age(view, events, online) for view, events in online.events.items()],
    }


def _age(view: str, events: Any, online: OnlineRows) -> FeatureAge:
    present = events[~np.isnat(events)]
    if not len(present):
        return FeatureAge(view=view, oldest_event_time=None, age_hours=None)
    oldest = present.min().astype("datetime64[us]").item().replace(tzinfo=UTC)
    return FeatureAge(view=view, oldest_event_time=oldest, age_hours=float(np.nanmax(online.ages_hours[view])))
