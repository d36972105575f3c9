"""One recommendation and one demand row over HTTP, beside `feast serve` and `mlflow models serve` in turn."""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import yaml
from measure import Result, interval
from redis_server import redis_server
from server_process import Server
from serving_home import PPGS, home, outlets

from feature_repo.catalog import BATCH_FEATURES, DEMAND_SERVING, MODEL_FEATURES
from flows.api_process import free_port
from poplift.activation import CANDIDATES
from poplift.clock import wall_now
from poplift.feature_store import configuration
from poplift.settings import Settings, child_environment
from serving.access.keys import ApiKeys
from serving.access.roles import Role
from serving.current import load_current
from serving.online import FeastReader, coming_week_start_day, model_inputs, read_rows

OUTLETS = 160
PEER, FIRST, AGAIN = "feast serve, then mlflow models serve", "poplift, asked the first time", "poplift, asked again"
GUARDED, BARE = "poplift, asked again with a key", "bare FastAPI route, no work"
GOALS = {"216 rows": (10, 8), "one row": (15, 10)}
Block = tuple[list[float], float]


def main(blocks: int) -> None:
    """Compare the answers, then measure in interleaved blocks and keep the result."""
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {1})  # the client and Redis; the servers have core 0
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as name, ExitStack() as running:
        folder = Path(name)
        address = running.enter_context(redis_server(folder))
        settings = home(folder / "home", count=OUTLETS, redis_url=address, database_prefix="bench")
        questions = [Question(settings, outlet) for outlet in outlets(OUTLETS)]
        peer = Peer(running, folder, settings)
        ours, guarded, bare = Ours(running, settings), Ours.guarded(running, settings), Bare(running)
        for question in questions[-3:]:
            compare(question, peer, ours)
        known, new = questions[: OUTLETS // 2], questions[OUTLETS // 2 : -3]
        rows, met = [], True
        for what, arms in {
            "216 rows": {
                PEER: peer.asks(known, "many"),
                FIRST: ours.asks(new, "many"),
                AGAIN: ours.asks(known, "many"),
                GUARDED: guarded.asks(known, "many"),
            },
            "one row": {
                PEER: peer.asks(known, "one"),
                AGAIN: ours.asks(known, "one"),
                GUARDED: guarded.asks(known, "one"),
                BARE: bare.asks(known),
            },
        }.items():
            for server in (ours.server, guarded.server):
                server.wake()
            for question in known if what == "216 rows" else ():
                ours.recommend(question)
                guarded.recommend(question)
            taken = interleaved(arms, blocks=blocks, calls={PEER: 12, FIRST: 3, AGAIN: 60, GUARDED: 60, BARE: 60})
            for arm, measured in taken.items():
                rows.append(line(what, arm, measured, taken[PEER]))
            rate, tail = GOALS[what]
            met &= times(taken[PEER], taken[AGAIN])[1] >= rate and p99(taken[PEER]) >= tail * p99(taken[AGAIN])
    Result(
        name="serving_requests",
        goal="216 rows asked again: at least 10 times the requests per CPU second, by the lower end of the interval, "
        "and at most an eighth of the p99; one row: 15 times and a tenth. The peer scores one head, without reasons",
        met=met,
        columns=("what", "arm", "requests/CPU s", "times the peer", "95 % interval", "p50 ms", "p99 ms"),
        rows=tuple(rows),
    ).save()


class Question:
    """What is asked about one outlet, ready to be sent: the client's own work is not measured."""

    def __init__(self, settings: Settings, outlet: str) -> None:
        entities = [{"outlet_id": outlet, "ppg_id": ppg} for ppg in PPGS]
        read = read_rows(reader(settings), entities, business_time=settings.business_time, defaults={})
        cells = np.repeat(read.cells, len(CANDIDATES), axis=0)
        each = np.tile(np.arange(len(CANDIDATES)), len(PPGS))
        day = coming_week_start_day(settings.business_time)
        inputs = model_inputs(cells, CANDIDATES, chosen=each, week_start_day=day)
        self.outlet, self.cells, self.inputs = outlet, read.cells, inputs
        self.entities = {"many": _entities(entities), "one": _entities(entities[:1])}
        self.inputs_of = {"many": _split(inputs), "one": _split(inputs[:1])}
        self.demand = json.dumps({"rows": entities[:1]}).encode()


_READER: dict[str, FeastReader] = {}


def reader(settings: Settings) -> FeastReader:
    """One for all questions."""
    return _READER.setdefault("only", FeastReader(settings))


def _entities(entities: Sequence[Mapping[str, str]]) -> bytes:
    columns = {key: [entity[key] for entity in entities] for key in ("outlet_id", "ppg_id")}
    return json.dumps({"feature_service": DEMAND_SERVING, "entities": columns}).encode()


def _split(inputs: np.ndarray) -> bytes:
    return json.dumps({"dataframe_split": {"columns": list(MODEL_FEATURES), "data": inputs.tolist()}}).encode()


class Peer:
    """Features from one server, predictions of the transactions head from another, one call after the other."""

    def __init__(self, running: ExitStack, folder: Path, settings: Settings) -> None:
        import lightgbm
        import mlflow.lightgbm

        plain = configuration(settings)
        plain["online_store"] = {"type": "redis", "connection_string": settings.redis_url}
        plain["registry"]["cache_ttl_seconds"] = 3600
        plain = {name: plain[name] for name in plain if name not in {"batch_engine", "offline_store"}}
        plain["offline_store"] = {"type": "duckdb"}
        (folder / "feast").mkdir()
        (folder / "feast" / "feature_store.yaml").write_text(yaml.safe_dump(plain))
        release = load_current(settings.releases_dir)
        booster = lightgbm.Booster(model_file=str(release.folder / "transactions.lgb"), params={"num_threads": 1})
        mlflow.lightgbm.save_model(booster, str(folder / "mlflow"))
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # MLflow starts `uvicorn`
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path}
        port = free_port()
        feast = (sys.executable, "-m", "feast.cli.cli", "-c", str(folder / "feast"), "serve", "-p", str(port))
        tuned = ("--no-access-log", "--max-requests", "1000000", "--registry_ttl_sec", "3600")
        self.feast = Server(running, (*feast, *tuned), environment, port=port, probe="/health")
        port = free_port()
        models = (sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder / "mlflow"), "-p", str(port))
        self.mlflow = Server(running, (*models, "--env-manager", "local"), environment, port=port, probe="/ping")

    def asks(self, questions: Sequence[Question], size: str) -> "Arm":
        """Both calls about one question after the other."""

        def call(question: Question) -> None:
            self.feast.raw("POST", "/get-online-features", question.entities[size])
            self.mlflow.raw("POST", "/invocations", question.inputs_of[size])

        return Arm(questions, call, (self.feast, self.mlflow))


class Ours:
    """`poplift serve` with one worker."""

    def __init__(self, running: ExitStack, settings: Settings, *, key: str | None = None, **more: str) -> None:
        port = free_port()
        environment = child_environment(settings, POPLIFT_API_PORT=str(port), OMP_NUM_THREADS="1", **more)
        command = (sys.executable, "-m", "flows.cli", "serve")
        self.server = Server(running, command, environment, port=port, probe="/readyz", key=key)

    @classmethod
    def guarded(cls, running: ExitStack, settings: Settings) -> "Ours":
        """One that asks for a key with the role, which the other does not."""
        key = ApiKeys(settings.access_dir).create("benchmark", [Role.DECIDE], at=wall_now())
        unlimited = {"POPLIFT_CLIENT_RATE": "1000000", "POPLIFT_CLIENT_BURST": "1000000"}
        return cls(running, settings, key=key, POPLIFT_ACCESS="required", **unlimited)

    def recommend(self, question: Question, *, limit: int = 10) -> bytes:
        """The best activations of one outlet with reasons."""
        return self.server.raw("GET", f"/v1/recommendations/{question.outlet}?limit={limit}")

    def asks(self, questions: Sequence[Question], size: str) -> "Arm":
        """A recommendation, or one demand row."""

        def call(question: Question) -> None:
            if size == "many":
                self.recommend(question)
            else:
                self.server.raw("POST", "/v1/demand", question.demand)

        return Arm(questions, call, (self.server,))


class Bare:
    """What uvicorn and FastAPI take for a request of this size, whatever is done for it."""

    def __init__(self, running: ExitStack) -> None:
        port = free_port()
        command = (sys.executable, str(Path(__file__).with_name("bare_route.py")), str(port))
        path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        self.server = Server(running, command, path, port=port, probe="/readyz")

    def asks(self, questions: Sequence[Question]) -> "Arm":
        """One demand row."""
        return Arm(questions, lambda q: self.server.raw("POST", "/v1/demand", q.demand) and None, (self.server,))


class Arm:
    """Asks its questions in turn; CPU seconds are those of its servers."""

    def __init__(
        self, questions: Sequence[Question], call: Callable[[Question], None], servers: Sequence[Server]
    ) -> None:
        self._questions, self._call, self._servers, self._next = questions, call, servers, 0

    def block(self, calls: int) -> Block:
        """Wall seconds of every call, and CPU seconds of a call."""
        for server in self._servers:
            server.wake()
        before, taken = self._cpu(), []
        for _ in range(calls):
            began = time.perf_counter()
            self._call(self._questions[self._next % len(self._questions)])
            taken.append(time.perf_counter() - began)
            self._next += 1
        return taken, (self._cpu() - before) / calls

    def _cpu(self) -> float:
        return sum(server.cpu_seconds() for server in self._servers)


def compare(question: Question, peer: Peer, ours: Ours) -> None:
    """Raise AssertionError unless both read the same features and predict the same transactions."""
    for server in (peer.feast, peer.mlflow, ours.server):
        server.wake()
    found = peer.feast.ask("POST", "/get-online-features", question.entities["many"])
    values = dict(zip(found["metadata"]["feature_names"], (r["values"] for r in found["results"]), strict=True))
    np.testing.assert_array_equal(np.array([values[name] for name in BATCH_FEATURES]).T, question.cells)
    predicted = peer.mlflow.ask("POST", "/invocations", question.inputs_of["many"])["predictions"]
    expected = dict(zip(PPGS, np.reshape(predicted, (len(PPGS), -1)).tolist(), strict=True))
    answer = json.loads(ours.recommend(question, limit=100))["recommendations"]
    got = {r["ppg_id"]: [c["transactions"] for c in r["candidates"]] for r in answer}
    if got != expected or not all(r["reasons"] for r in answer):
        raise AssertionError(f"predictions for {question.outlet} differ")
    one = ours.server.ask("POST", "/v1/demand", question.demand)["rows"][0]["transactions"]
    if [one] != peer.mlflow.ask("POST", "/invocations", question.inputs_of["one"])["predictions"]:
        raise AssertionError("the demand row differs")


def interleaved(arms: Mapping[str, Arm], *, blocks: int, calls: Mapping[str, int]) -> dict[str, list[Block]]:
    """Blocks of all arms in turning order."""
    taken: dict[str, list[Block]] = {name: [] for name in arms}
    for block in range(blocks):
        for name in list(arms) if block % 2 == 0 else list(reversed(arms)):
            taken[name].append(arms[name].block(calls[name]))
    return taken


def times(slow: list[Block], fast: list[Block]) -> tuple[float, float, float]:
    """Ratio of CPU seconds a request, with its 95 % interval."""
    return interval([cpu for _, cpu in slow], [cpu for _, cpu in fast], in_turns=True)


def p99(blocks: list[Block]) -> float:
    """99th percentile of wall seconds."""
    return float(np.quantile(np.concatenate([taken for taken, _ in blocks]), 0.99))


def line(what: str, arm: str, measured: list[Block], peer: list[Block]) -> tuple[str, ...]:
    """One line of the table."""
    middle, low, high = times(peer, measured)
    wall = np.concatenate([taken for taken, _ in measured])
    ratio = ("1", "") if arm == PEER else (f"{middle:.1f}", f"{low:.1f}–{high:.1f}")
    rate = 1 / statistics.mean(cpu for _, cpu in measured)
    return (what, arm, f"{rate:.0f}", *ratio, f"{np.median(wall) * 1e3:.2f}", f"{p99(measured) * 1e3:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=40)
    main(parser.parse_args().blocks)
