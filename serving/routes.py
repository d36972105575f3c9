"""The product routes: predicted demand and recommended activations."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic_core import to_json

from serving import examples
from serving.access.roles import Role, asks
from serving.answers import Json, demand_answer, recommendation_answer
from serving.decide import Context, DemandResult, RecommendationResult, UnknownEntityError, demand, recommend
from serving.idempotency import KEYED, IdempotentRoute
from serving.policy import BASIS_SENTENCE
from serving.problems import request_id
from serving.schemas import (
    DemandAnswer,
    DemandRequest,
    Outlet,
    OutletsAnswer,
    OutletsRequest,
    RecommendationAnswer,
    RecommendationRequest,
)
from serving.service import Service
from serving.shadow import Again
from serving.side_by_side import Decided

PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"description": "An outlet or ppg is not known; the reason is given row by row."},
    413: {"description": "The body is larger than 1 MiB."},
    422: {"description": "The request breaks the schema; where and what, but never the input itself."},
    503: {"description": "The online store or the release is not available, or too much is asked at once."},
}
PPG = examples.PPG
DEMAND_EXAMPLE = {
    "rows": [
        {"outlet_id": "367", "ppg_id": PPG},
        {"outlet_id": "367", "ppg_id": PPG, "activation": {"display": True, "price_cut": 0.2}},
    ]
}

router = APIRouter(route_class=IdempotentRoute, prefix="/v1", responses=PROBLEMS, tags=["decisions"])


@router.post(
    "/demand",
    responses={200: examples.shows(examples.DEMAND)},
    response_model=DemandAnswer,
    openapi_extra=asks(Role.DECIDE) | KEYED,
    summary="Predicted sales of the coming week under planned activations",
)
async def post_demand(
    request: Request,
    asked: Annotated[DemandRequest, Body(openapi_examples={"two plans": {"value": DEMAND_EXAMPLE}})],
) -> Response:
    """Predict transactions and units of up to 1000 (outlet, ppg, activation) rows for the coming week.

    Rows are answered in the order asked. A price cut is a share of the ppg's base price.
    """
    service: Service = request.app.state.service
    return await service.work(partial(_demand, service, request, asked))


def _demand(service: Service, request: Request, asked: DemandRequest) -> Response:
    entities = [{"outlet_id": row.outlet_id, "ppg_id": row.ppg_id} for row in asked.rows]
    plans = [row.activation for row in asked.rows]
    asked_as = request_id(request)

    def how(context: Context) -> DemandResult:
        return demand(context, entities, plans)

    def said(context: Context, result: DemandResult) -> tuple[Json, list[Json]]:
        return demand_answer(context, asked_as, entities, plans, result)

    decided = service.decide({row.outlet_id for row in asked.rows}, how)
    with service.metrics.stage("answer"):
        answer, log = said(decided.context, decided.result)
        service.record("demand", log, decided, Again(how, lambda *of: list(said(*of)[1])))
        return _sent(answer)


def _recommend(service: Service, request: Request, question: "Recommend") -> Response:
    decided = service.decide({question.outlet_id}, question)
    with service.metrics.stage("answer"):
        return _sent(_told(service, request_id(request), question, decided))


@dataclass(frozen=True)
class Recommend:
    """What is asked about one outlet; a release answers it when called. `only` stands in the place of the limit."""

    outlet_id: str
    ppg_ids: list[str] | None
    limit: int
    only: tuple[str, ...] | None = None

    def __call__(self, context: Context) -> RecommendationResult:
        """The answer of a release."""
        return recommend(context, self.outlet_id, self.ppg_ids, limit=self.limit, only=self.only)


def _told(
    service: Service, asked_as: str, question: Recommend, decided: Decided[RecommendationResult]
) -> dict[str, Any]:
    """The answer about one outlet; its decisions are logged and counted, and the other release is asked too."""
    answer, log = recommendation_answer(decided.context, asked_as, question.outlet_id, decided.result)
    ppgs = tuple(row["ppg_id"] for row in log)

    def rows(context: Context, result: RecommendationResult) -> list[Json | None]:
        of = {row["ppg_id"]: row for row in recommendation_answer(context, asked_as, question.outlet_id, result)[1]}
        return [of.get(ppg) for ppg in ppgs]  # another policy may know other ppgs

    service.record("recommendation", log, decided, Again(replace(question, only=ppgs), rows))
    names = (item["recommended"]["activation_name"] for item in answer["recommendations"])
    for name, count in Counter(names).items():
        service.metrics.choices.labels(name).inc(count)
    return answer


def _sent(answer: dict[str, Any]) -> Response:
    return Response(to_json(answer), media_type="application/json")


@router.get(
    "/recommendations/{outlet_id}",
    responses={200: examples.shows(examples.RECOMMENDATIONS)},
    response_model=RecommendationAnswer,
    openapi_extra=asks(Role.DECIDE),
    summary="Recommended activations of one outlet for the coming week",
    description=f"The best activation of every ppg, ordered by predicted net gain. {BASIS_SENTENCE}",
)
async def get_recommendations(
    request: Request,
    outlet_id: Annotated[Outlet, Path()],
    limit: Annotated[int, Query(ge=1, le=100, description="How many of the best to return.")] = 10,
) -> Response:
    """All ppgs of the policy; those without history at the outlet are listed as not decided."""
    service: Service = request.app.state.service
    return await service.work(partial(_recommend, service, request, Recommend(outlet_id, None, limit)))


@router.post(
    "/recommendations",
    responses={200: examples.shows(examples.RECOMMENDATIONS)},
    response_model=RecommendationAnswer,
    openapi_extra=asks(Role.DECIDE) | KEYED,
    summary="Recommended activations of one outlet among named ppgs",
    description=f"As GET, for the ppgs named; one that is not known is a 404. {BASIS_SENTENCE}",
)
async def post_recommendations(
    request: Request,
    asked: Annotated[
        RecommendationRequest,
        Body(openapi_examples={"one ppg": {"value": {"outlet_id": "367", "ppg_ids": [PPG], "limit": 1}}}),
    ],
) -> Response:
    """Named ppgs of one outlet."""
    service: Service = request.app.state.service
    question = Recommend(asked.outlet_id, asked.ppg_ids, asked.limit)
    return await service.work(partial(_recommend, service, request, question))


@router.post(
    "/recommendations/batch",
    responses={200: examples.shows(examples.OUTLETS)},
    response_model=OutletsAnswer,
    openapi_extra=asks(Role.DECIDE) | KEYED,
    summary="Recommended activations of many outlets for the coming week",
    description=f"As GET for each outlet, by one release, but for outlets of a canary. {BASIS_SENTENCE}",
)
async def post_recommendations_batch(
    request: Request,
    asked: Annotated[
        OutletsRequest,
        Body(openapi_examples={"two outlets": {"value": {"outlet_ids": ["367", "406"], "limit": 3}}}),
    ],
) -> Response:
    """Up to 100 outlets in the order asked; those nobody knows are named with the reason, the others answered."""
    service: Service = request.app.state.service
    return await service.work(partial(_recommend_many, service, request, asked))


def _recommend_many(service: Service, request: Request, asked: OutletsRequest) -> Response:
    context = service.context()
    found: list[tuple[Recommend, Decided[RecommendationResult]]] = []
    unknown: list[dict[str, str]] = []
    for outlet_id in dict.fromkeys(asked.outlet_ids):
        try:
            question = Recommend(outlet_id, None, asked.limit)
            found.append((question, service.decide({outlet_id}, question, champion=context)))
        except UnknownEntityError as error:
            unknown.append({"outlet_id": outlet_id, "reason": str(error)})
    with service.metrics.stage("answer"):  # only now: what is not answered is not decided
        outlets = [_told(service, request_id(request), *one) for one in found]
        return _sent({"request_id": request_id(request), "outlets": outlets, "unknown": unknown})
