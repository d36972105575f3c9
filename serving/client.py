"""The API for product teams in Python: one file that needs httpx alone, to be copied or imported.

    with Poplift("https://poplift.example.com", key=...) as poplift:
        best = poplift.recommendations("367", limit=3)["recommendations"]

Answers are the JSON of the OpenAPI document, typed; a test compares these types with it. An attempt that got a 503, a
429 or no answer is made again, a few times, after as long as the API asks for; all attempts carry one idempotency key,
so that what was done is not done again.
"""

import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NotRequired, Self, TypedDict, cast

import httpx

AGAIN = frozenset({409, 429, 503})  # in each case the API says that the same request may be sent again
LONGEST_WAIT_SECONDS = 30.0
Json = Mapping[str, Any]


class Activation(TypedDict):
    """What is run at one outlet for one ppg; without any field: nothing."""

    display: NotRequired[bool]
    mailer: NotRequired[bool]
    price_cut: NotRequired[float]


class DemandRow(TypedDict):
    """One question."""

    outlet_id: str
    ppg_id: str
    activation: NotRequired[Activation]


class ReleaseAnswer(TypedDict):
    """Which release answered."""

    id: str
    model_name: str
    model_version: str
    policy: str


class FeatureAge(TypedDict):
    """How old the features of the answer were."""

    view: str
    oldest_event_time: str | None
    age_hours: float | None


class Prediction(TypedDict):
    """Predicted sales of the coming week under an activation."""

    activation: Activation
    activation_name: str
    price_usd: float | None
    transactions: float
    transactions_low: float
    transactions_high: float
    units: float


class DemandPrediction(Prediction):
    """The answer to one question."""

    decision_id: str
    outlet_id: str
    ppg_id: str
    degraded: bool
    flags: list[str]


class Envelope(TypedDict):
    """What every answer says about itself."""

    request_id: str
    release: ReleaseAnswer
    business_time: str
    week_start: str
    basis: Literal["predictive"]
    basis_note: NotRequired[str]
    degraded: bool
    feature_ages: list[FeatureAge]


class DemandAnswer(Envelope):
    """Answers in the order asked."""

    rows: list[DemandPrediction]


class Candidate(Prediction):
    """One activation that could have been chosen."""

    predicted_gain: float
    assumed_cost_usd: float | None
    net_gain: float | None
    propensity: float


class ReasonAnswer(TypedDict):
    """One contribution to the prediction under the recommended activation."""

    feature: str
    value: float | None
    unit: str
    effect: float
    scale: Literal["times", "plus"]
    text: str


class Recommendation(TypedDict):
    """What to run for one ppg; report what became of it under its decision id."""

    rank: int
    decision_id: str
    ppg_id: str
    recommended: Candidate
    arm: str
    arm_note: str
    experiment: str | None
    propensity: float
    abstained: bool
    abstained_because: str | None
    reasons: list[ReasonAnswer]
    candidates: list[Candidate]
    degraded: bool
    flags: list[str]


class NotDecided(TypedDict):
    """A ppg that the outlet cannot be advised on."""

    ppg_id: str
    reason: str


class RecommendationAnswer(Envelope):
    """The best activations of one outlet."""

    outlet_id: str
    assumptions: dict[str, Any]
    recommendations: list[Recommendation]
    not_decided: list[NotDecided]


class UnknownOutlet(TypedDict):
    """An outlet that nobody knows."""

    outlet_id: str
    reason: str


class OutletsAnswer(TypedDict):
    """The best activations of many outlets."""

    request_id: str
    outlets: list[RecommendationAnswer]
    unknown: list[UnknownOutlet]


class Quarantined(TypedDict):
    """A line or report that was kept apart."""

    row: int
    column: str
    rule: str


class EventsAnswer(TypedDict):
    """What became of lines; the counts of a stream come later."""

    request_id: str
    state: Literal["applied", "queued"]
    accepted: int
    duplicates: int | None
    quarantined: list[Quarantined] | None


class ExecutionsAnswer(TypedDict):
    """What became of reports."""

    request_id: str
    accepted: int
    duplicates: int
    quarantined: list[Quarantined]


class ProblemError(Exception):
    """The API refused: `problem` is what it said (RFC 9457), `status` the status of the last attempt."""

    def __init__(self, status: int, problem: Json) -> None:
        super().__init__(f"{status} {problem.get('detail') or problem.get('title') or 'no detail'}")
        self.status, self.problem = status, problem


class Poplift:
    """A connection to one API; for threads to share, closed at the end of its `with`."""

    def __init__(
        self, address: str, *, key: str | None = None, timeout: float = 5.0, attempts: int = 4, wait: float = 0.2
    ) -> None:
        """`wait` seconds are the first pause where the API names none; it doubles, with chance, at each attempt."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=address, timeout=timeout, headers=headers)
        self._attempts, self._wait = attempts, wait
        self._plan: tuple[str, dict[str, Any]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def demand(self, rows: Sequence[DemandRow]) -> DemandAnswer:
        """Predicted sales of the coming week of up to 1000 rows, in their order."""
        return cast("DemandAnswer", self._post("/v1/demand", {"rows": list(rows)}))

    def recommendations(
        self, outlet_id: str, *, ppg_ids: Sequence[str] | None = None, limit: int = 10
    ) -> RecommendationAnswer:
        """The best activations of one outlet, of all ppgs or of those named."""
        asked = {"outlet_id": outlet_id, "ppg_ids": None if ppg_ids is None else list(ppg_ids), "limit": limit}
        return cast("RecommendationAnswer", self._post("/v1/recommendations", asked))

    def recommendations_of(self, outlet_ids: Sequence[str], *, limit: int = 10) -> OutletsAnswer:
        """The same of up to 100 outlets."""
        asked = {"outlet_ids": list(outlet_ids), "limit": limit}
        return cast("OutletsAnswer", self._post("/v1/recommendations/batch", asked))

    def send_lines(self, lines: Sequence[Json]) -> EventsAnswer:
        """Up to 1000 POS lines."""
        return cast("EventsAnswer", self._post("/v1/events", list(lines)))

    def report(self, reports: Sequence[Json]) -> ExecutionsAnswer:
        """What became of up to 1000 recommendations."""
        return cast("ExecutionsAnswer", self._post("/v1/executions", list(reports)))

    def plan_if(self, **question: Any) -> dict[str, Any]:
        """What would be planned under these rules; publishes nothing."""
        return cast("dict[str, Any]", self._post("/v1/plan", question))

    def plan(self) -> dict[str, Any]:
        """The first page of the published plan; one that has not changed is not sent again."""
        known = {"If-None-Match": self._plan[0]} if self._plan else {}
        answer = self._ask("GET", "/v1/plan", headers=known)
        if answer.status_code == httpx.codes.NOT_MODIFIED and self._plan:
            return self._plan[1]
        self._plan = (answer.headers["ETag"], answer.json())
        return self._plan[1]

    def plan_lines(self, *, page: int = 1000, **filters: Any) -> Iterator[dict[str, Any]]:
        """Every line of the published plan, one plan from the first to the last."""
        cursor: str | None = None
        while True:
            asked = {"limit": page, **filters} | ({"cursor": cursor} if cursor else {})
            answer = self._ask("GET", "/v1/plan", params=asked).json()
            yield from answer["lines"]
            cursor = answer["next_cursor"]
            if cursor is None:
                return

    def _post(self, path: str, body: Any) -> Any:
        return self._ask("POST", path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())}).json()

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        for attempt in range(1, self._attempts + 1):
            pause = self._wait * 2 ** (attempt - 1) * (0.5 + random.random())  # noqa: S311 - spreads clients, hides nothing
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError:
                if attempt == self._attempts:
                    raise
            else:
                if answer.status_code not in AGAIN or attempt == self._attempts:
                    return _checked(answer)
                pause = max(pause, _seconds(answer.headers.get("Retry-After", "")))
            time.sleep(min(pause, LONGEST_WAIT_SECONDS))
        raise ValueError("attempts must be at least 1")


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code < httpx.codes.BAD_REQUEST:
        return answer
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    raise ProblemError(answer.status_code, problem if isinstance(problem, dict) else {})


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdigit() else 0.0
