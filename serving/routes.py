"""The product routes: predicted demand and recommended activations."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request

from serving.answers import demand_answer, recommendation_answer
from serving.decide import demand, recommend
from serving.policy import BASIS_SENTENCE
from serving.problems import request_id
from serving.schemas import (
    DemandAnswer,
    DemandRequest,
    Outlet,
    RecommendationAnswer,
    RecommendationRequest,
)
from serving.service import Service

PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"description": "An outlet or ppg is not known; the reason is given row by row."},
    413: {"description": "The body is larger than 1 MiB."},
    422: {"description": "The request breaks the schema; where and what, but never the input itself."},
    503: {"description": "The online store or the release is not available, or too much is asked at once."},
}
PPG = "m1208-soft-drinks-12-18-15pk-can-car"
DEMAND_EXAMPLE = {
    "rows": [
        {"outlet_id": "367", "ppg_id": PPG},
        {"outlet_id": "367", "ppg_id": PPG, "activation": {"display": True, "price_cut": 0.2}},
    ]
}

router = APIRouter(prefix="/v1", responses=PROBLEMS, tags=["decisions"])


@router.post("/demand", summary="Predicted sales of the coming week under planned activations")
def post_demand(
    request: Request,
    asked: Annotated[DemandRequest, Body(openapi_examples={"two plans": {"value": DEMAND_EXAMPLE}})],
) -> DemandAnswer:
    """Predict transactions and units of up to 1000 (outlet, ppg, activation) rows for the coming week.

    Rows are answered in the order asked. A price cut is a share of the ppg's base price.
    """
    service: Service = request.app.state.service
    context = service.context()
    entities = [{"outlet_id": row.outlet_id, "ppg_id": row.ppg_id} for row in asked.rows]
    plans = [row.activation for row in asked.rows]
    result = demand(context, entities, plans)
    answer, log = demand_answer(context, request_id(request), entities, plans, result)
    service.record("demand", log)
    return answer


def _recommend(request: Request, outlet_id: str, ppg_ids: list[str] | None, limit: int) -> RecommendationAnswer:
    service: Service = request.app.state.service
    context = service.context()
    result = recommend(context, outlet_id, ppg_ids, limit=limit)
    answer, log = recommendation_answer(context, request_id(request), outlet_id, result)
    service.record("recommendation", log)
    for item in answer.recommendations:
        service.metrics.choices.labels(item.recommended.activation_name).inc()
    return answer


@router.get(
    "/recommendations/{outlet_id}",
    summary="Recommended activations of one outlet for the coming week",
    description=f"The best activation of every ppg, ordered by predicted net gain. {BASIS_SENTENCE}",
)
def get_recommendations(
    request: Request,
    outlet_id: Annotated[Outlet, Path()],
    limit: Annotated[int, Query(ge=1, le=100, description="How many of the best to return.")] = 10,
) -> RecommendationAnswer:
    """All ppgs of the policy; those without history at the outlet are listed as not decided."""
    return _recommend(request, outlet_id, None, limit)


@router.post(
    "/recommendations",
    summary="Recommended activations of one outlet among named ppgs",
    description=f"As GET, for the ppgs named; one that is not known is a 404. {BASIS_SENTENCE}",
)
def post_recommendations(
    request: Request,
    asked: Annotated[
        RecommendationRequest,
        Body(openapi_examples={"one ppg": {"value": {"outlet_id": "367", "ppg_ids": [PPG], "limit": 1}}}),
    ],
) -> RecommendationAnswer:
    """Named ppgs of one outlet."""
    return _recommend(request, asked.outlet_id, asked.ppg_ids, asked.limit)
