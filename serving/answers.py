"""Turns results into the answers of the API and the rows of the decision log, one decision id for both.

Answers are plain values in the form of `serving.schemas`, to which tests hold them byte by byte: building and checking
a model of every candidate took as long as choosing it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

import numpy as np

from poplift.activation import Activation
from serving.decide import Context, DemandResult, RecommendationResult
from serving.decision_log import decision_ids, decision_row
from serving.exploration import Assigned, why
from serving.online import Entity, OnlineRows
from serving.policy import BASIS, BASIS_SENTENCE, Floats, Predictions

Json = dict[str, Any]


def demand_answer(
    context: Context,
    request_id: str,
    entities: Sequence[Entity],
    plans: Sequence[Activation],
    result: DemandResult,
) -> tuple[Json, list[Json]]:
    """Answer (schemas.DemandAnswer) and decision rows: the asked activation is the only candidate."""
    columns = {"price_usd": _numbers(result.price), **_predicted(result.predictions)}
    logged = _Decisions(context, "demand", request_id, result.online, result.inputs)
    rows: list[Json] = []
    for i, (entity, plan) in enumerate(zip(entities, plans, strict=True)):
        activation = plan.model_dump()
        numbers = {name: values[i] for name, values in columns.items()}
        rows.append(
            {
                "activation": activation,
                "activation_name": plan.name,
                **numbers,
                "decision_id": logged.add(entity, activation, [{"activation": activation, **numbers}], row=i),
                **entity,
                "degraded": bool(result.online.degraded[i]),
                "flags": result.online.flags[i],
            }
        )
    return {**_envelope(context, request_id, result.online), "rows": rows}, logged.rows


def recommendation_answer(
    context: Context, request_id: str, outlet_id: str, result: RecommendationResult
) -> tuple[Json, list[Json]]:
    """Answer (schemas.RecommendationAnswer) and decision rows: one decision per returned ppg."""
    policy = context.release.policy
    activations = [(activation.model_dump(), activation.name) for activation in policy.candidates]
    columns = {"price_usd": _numbers(result.price), **_predicted(result.predictions)}
    gains = _numbers(np.array([(c.gain, c.cost_usd, c.net_gain) for c in result.choices]))
    logged = _Decisions(context, "recommendation", request_id, result.online, result.inputs)
    recommendations: list[Json] = []
    for rank, (assigned, reasons) in enumerate(zip(result.assigned, result.reasons, strict=True), 1):
        choice = assigned.choice
        candidates = _candidates(activations, columns, gains[rank - 1], assigned)
        of_log = [candidate.copy() for candidate in candidates]
        for candidate in of_log:
            del candidate["activation_name"]
        chosen = candidates[choice.chosen]
        entity = {"outlet_id": outlet_id, "ppg_id": choice.ppg_id}
        recommendations.append(
            {
                "rank": rank,
                "decision_id": logged.add(entity, chosen["activation"], of_log, row=choice.row, assigned=assigned),
                "ppg_id": choice.ppg_id,
                "recommended": chosen,
                "arm": assigned.draw.arm,
                "arm_note": why(assigned),
                "experiment": assigned.experiment,
                "propensity": assigned.draw.propensity,
                "abstained": choice.abstained_because is not None,
                "abstained_because": choice.abstained_because,
                "reasons": [vars(reason) for reason in reasons],
                "candidates": candidates,
                "degraded": bool(result.online.degraded[choice.row]),
                "flags": result.online.flags[choice.row],
            }
        )
    answer = {
        **_envelope(context, request_id, result.online),
        "outlet_id": outlet_id,
        "assumptions": policy.assumptions.model_dump(),
        "recommendations": recommendations,
        "not_decided": [{"ppg_id": ppg, "reason": reason} for ppg, reason in result.not_decided],
    }
    return answer, logged.rows


def release_answer(context: Context) -> dict[str, str]:
    """Which release answers this request (schemas.ReleaseAnswer)."""
    release = context.release
    return {
        "id": release.id,
        "model_name": release.model_name,
        "model_version": release.model_version,
        "policy": release.policy.name,
    }


class _Decisions:
    """Rows of the decision log of one answer; `inputs` has the model inputs of its decisions in their order."""

    def __init__(self, context: Context, kind: str, request_id: str, online: OnlineRows, inputs: Floats) -> None:
        self.rows: list[Json] = []
        self._features = context.release.features
        self._ids = decision_ids(len(inputs))
        self._vectors = _numbers(context.release.heads.arranged(inputs))
        self._online = online
        self._ages = {view: _numbers(hours) for view, hours in online.ages_hours.items()}
        self._shared: Mapping[str, Any] = {
            "kind": kind,
            "request_id": request_id,
            "business_time": context.business_time.astimezone(UTC).isoformat(),
            "week_start": context.week_start.isoformat(),
            "release": release_answer(context),
        }

    def add(
        self, entity: Entity, chosen: Json, candidates: list[Json], *, row: int, assigned: Assigned | None = None
    ) -> str:
        """Add the decision about row `row` of the online read and return its id."""
        logged = decision_row(
            decision_id=self._ids[len(self.rows)],
            **self._shared,
            entity=entity,
            chosen=chosen,
            candidates=candidates,
            draw=assigned.draw if assigned else None,
            experiment=assigned.experiment if assigned else None,
            features=dict(zip(self._features, self._vectors[len(self.rows)], strict=True)),
            quality={
                "feature_age_hours": {view: hours[row] for view, hours in self._ages.items()},
                "degraded": bool(self._online.degraded[row]),
                "flags": self._online.flags[row],
            },
        )
        self.rows.append(logged)
        return str(logged["decision_id"])


def _candidates(
    activations: list[tuple[Json, str]], columns: Mapping[str, Any], gains: list[Any], assigned: Assigned
) -> list[Json]:
    own = [*(values[assigned.choice.row] for values in columns.values()), *gains, assigned.draw.propensities]
    names = ("activation", "activation_name", *columns, "predicted_gain", "assumed_cost_usd", "net_gain", "propensity")
    return [
        dict(zip(names, (*of, *numbers), strict=True))
        for of, numbers in zip(activations, zip(*own, strict=True), strict=True)
    ]


def _predicted(predictions: Predictions) -> dict[str, Any]:
    return {
        "transactions": _numbers(predictions.transactions),
        "transactions_low": _numbers(predictions.low),
        "transactions_high": _numbers(predictions.high),
        "units": _numbers(predictions.units),
    }


def _numbers(values: Floats) -> list[Any]:
    """As Python's floats, in as many lists as there are dimensions; JSON has no NaN: what is not finite is None."""
    is_finite = np.isfinite(values)
    if is_finite.all():
        return list(values.tolist())
    numbers = values.astype(object)
    numbers[~is_finite] = None
    return list(numbers.tolist())


def _envelope(context: Context, request_id: str, online: OnlineRows) -> Json:
    return {
        "request_id": request_id,
        "release": release_answer(context),
        "business_time": context.business_time.astimezone(UTC),
        "week_start": context.week_start,
        "basis": BASIS,
        "basis_note": BASIS_SENTENCE,
        "degraded": bool(online.degraded.any()),
        "feature_ages": _ages(online),
    }


def _ages(online: OnlineRows) -> list[Json]:
    return [
        {"view": view, "oldest_event_time": event and event.replace(tzinfo=UTC), "age_hours": hours}
        for view, event, hours in online.oldest
    ]
