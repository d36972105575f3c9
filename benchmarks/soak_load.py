"""Clients that ask without end, and hold every answer to what its release says when nothing fails."""

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json
from soak_invariants import BROKEN, DEGRADED, OTHER, REFUSED, RIGHT, UNKNOWN, Answer

from poplift.activation import CANDIDATES
from poplift.settings import Settings
from serving.answers import demand_answer, recommendation_answer
from serving.decide import Context, demand, recommend
from serving.metrics import Metrics
from serving.online import FeatureReader
from serving.release import load

TIMEOUT_SECONDS = 20.0
PAUSE_SECONDS = 0.02  # of a client between two questions, on average
LIMIT = 3


@dataclass(frozen=True)
class Question:
    """What is asked, and the status that is right for it."""

    name: str
    method: str
    path: str
    body: bytes | None = None
    status: int = 200
    outlet: str = ""
    rows: tuple[tuple[str, int], ...] = ()  # ppg and place among the candidates


def questions(outlets: Sequence[str], ppgs: Sequence[str], *, seed: int) -> list[Question]:
    """Recommendations and demand of every outlet, and now and then somebody who asks for what there is not."""
    draw = random.Random(seed)
    asked = []
    for outlet in outlets:
        path = f"/v1/recommendations/{outlet}?limit={LIMIT}"
        asked += [Question(f"recommendations of {outlet}", "GET", path, outlet=outlet)] * 3
        rows = tuple((draw.choice(ppgs), draw.randrange(len(CANDIDATES))) for _ in range(draw.randint(1, 5)))
        entities = [{"outlet_id": outlet, "ppg_id": p, "activation": CANDIDATES[c].model_dump()} for p, c in rows]
        body = json.dumps({"rows": entities}).encode()
        asked.append(Question(f"demand at {outlet}", "POST", "/v1/demand", body, outlet=outlet, rows=rows))
    asked.append(Question("an unknown outlet", "GET", "/v1/recommendations/nowhere", status=404))
    asked.append(Question("a broken body", "POST", "/v1/demand", b'{"rows": 7}', status=422))
    return asked


def references(
    settings: Settings, releases: Sequence[str], asked: Sequence[Question], *, reader: FeatureReader
) -> dict[tuple[str, str], Any]:
    """What every release answers to every question, worked out here, with no server, threads or faults."""
    right = {}
    for release_id in releases:
        context = Context(
            release=load(settings.releases_dir / release_id),
            reader=reader,
            business_time=settings.now(),
            metrics=Metrics(),
        )
        for question in {q.name: q for q in asked if q.status == 200}.values():
            right[release_id, question.name] = plain(json.loads(to_json(_answer(context, question))))
    return right


def _answer(context: Context, question: Question) -> dict[str, Any]:
    if question.method == "GET":
        result = recommend(context, question.outlet, None, limit=LIMIT)
        return recommendation_answer(context, "", question.outlet, result)[0]
    entities = [{"outlet_id": question.outlet, "ppg_id": ppg} for ppg, _ in question.rows]
    plans = [CANDIDATES[place] for _, place in question.rows]
    return demand_answer(context, "", entities, plans, demand(context, entities, plans))[0]


def plain(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without the ids that are new each time."""
    rows = "rows" if "rows" in answer else "recommendations"
    without = {name: value for name, value in answer.items() if name not in {"request_id", rows}}
    return without | {rows: [{k: v for k, v in row.items() if k != "decision_id"} for row in answer[rows]]}


class Load:
    """Clients in threads of their own, each with a connection a question, until they are told to stop."""

    def __init__(
        self,
        port: int,
        asked: Sequence[Question],
        right: Mapping[tuple[str, str], Any],
        *,
        now: Callable[[], float],
        seed: int,
        clients: int = 4,
    ) -> None:
        self._port, self._asked, self._right, self._now = port, asked, right, now
        self._stopping = threading.Event()
        self.answers: list[Answer] = []
        self._clients = [
            threading.Thread(target=self._ask_on, args=(random.Random(seed + n),), name=f"client-{n}", daemon=True)
            for n in range(clients)
        ]

    def start(self) -> None:
        """Let all clients begin."""
        for client in self._clients:
            client.start()

    def stop(self) -> None:
        """Let every client end its last question."""
        self._stopping.set()
        for client in self._clients:
            client.join(TIMEOUT_SECONDS + 5)
            if client.is_alive():
                raise RuntimeError(f"{client.name} did not end: a question hangs")

    def _ask_on(self, draw: random.Random) -> None:
        while not self._stopping.is_set():
            self.answers.append(self._ask(draw.choice(self._asked)))
            time.sleep(draw.expovariate(1 / PAUSE_SECONDS))

    def _ask(self, question: Question) -> Answer:
        began = self._now()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        try:
            headers = {"Content-Type": "application/json", "Connection": "close"}
            connection.request(question.method, question.path, question.body, headers)
            response = connection.getresponse()
            status, body = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            return Answer(began, self._now(), f"{question.name} ({type(error).__name__})", BROKEN)
        finally:
            connection.close()
        return self._held(question, began, self._now(), status, body)

    def _held(self, question: Question, began: float, ended: float, status: int, body: bytes) -> Answer:
        if status != 200:
            outcome = RIGHT if status == question.status else {503: REFUSED, 404: UNKNOWN}.get(status, OTHER)
            return Answer(began, ended, f"{question.name} ({status})", outcome)
        answer = json.loads(body)
        release = answer["release"]["id"]
        rows = answer.get("rows") or answer.get("recommendations") or []
        if answer["degraded"]:
            outcome, wrong = DEGRADED, undeclared(rows)
        else:
            outcome, wrong = RIGHT, difference(plain(answer), self._right.get((release, question.name), "a refusal"))
        decisions = tuple(row["decision_id"] for row in rows)
        return Answer(began, ended, question.name, outcome, wrong, release, decisions)


def undeclared(rows: Sequence[Mapping[str, Any]]) -> str:
    """How a degraded answer hides what it is: a row without a flag, or money spent on defaults."""
    for row in rows:
        if row["degraded"] and not row["flags"]:
            return "degraded, and no flag says why"
        if row["degraded"] and row.get("recommended", {}).get("activation_name", "none") != "none":
            return "an activation is recommended on defaults"
    return ""


def difference(answer: Any, right: Any, where: str = "answer") -> str:
    """The first place where an answer is another one than the right one; empty where there is none."""
    if isinstance(answer, dict) and isinstance(right, dict) and answer.keys() == right.keys():
        return next((found for k in answer if (found := difference(answer[k], right[k], f"{where}.{k}"))), "")
    if isinstance(answer, list) and isinstance(right, list) and len(answer) == len(right):
        pairs = enumerate(zip(answer, right, strict=True))
        return next((found for i, (a, r) in pairs if (found := difference(a, r, f"{where}[{i}]"))), "")
    return "" if answer == right else f"{where} is {str(answer)[:80]}, not {str(right)[:80]}"
