"""A tiny real release, an in-memory online store and the real application around them."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import lightgbm
import numpy as np
import pandas as pd
import pytest
import uvicorn
from fastapi import FastAPI

from feature_repo.catalog import MODEL_FEATURES, VIEWS
from poplift.clock import wall_now
from poplift.settings import Settings, load_settings
from serving.access.keys import ApiKeys
from serving.access.roles import Role
from serving.app import create_app
from serving.current import activate
from serving.policy import Policy
from serving.release import HEADS, LoadedRelease, Release, build, load
from serving.service import Limits

OUTLETS = ("367", "406")
PPGS = tuple(f"m1-soft-drinks-{n}" for n in range(27))
EVENT = np.datetime64("2018-01-01T05:00:00", "us")


@dataclass(frozen=True)
class Features:
    """What an online read gives."""

    values: Mapping[str, np.ndarray]
    event_timestamps: Mapping[str, np.ndarray]
    found: np.ndarray


@dataclass
class MemoryStore:
    """An online store in memory with the contract of poplift.feature_store.OnlineReader."""

    rows: dict[tuple[str, ...], dict[str, float]] = field(default_factory=dict)
    events: dict[str, np.datetime64] = field(default_factory=dict)
    failure: Exception | None = None
    hang: Callable[[], object] | None = None
    reads: int = 0

    @classmethod
    def filled(cls) -> "MemoryStore":
        """Every pair of OUTLETS x PPGS, with values that differ from pair to pair."""
        rng = np.random.default_rng(7)
        store = cls(events={view.name: EVENT for view in VIEWS})
        for view in VIEWS:
            for outlet in OUTLETS if "outlet_id" in view.entities else ("",):
                for ppg in PPGS if "ppg_id" in view.entities else ("",):
                    key = tuple({"outlet_id": outlet, "ppg_id": ppg}[e] for e in view.entities)
                    store.rows[view.name, *key] = {f.name: float(rng.gamma(1.0, 1.5)) for f in view.features}
        return store

    def read(self, entities: Sequence[Mapping[str, str]]) -> Features:
        self.reads += 1
        if self.hang is not None:
            self.hang()
        if self.failure is not None:
            raise self.failure
        values: dict[str, np.ndarray] = {}
        times: dict[str, np.ndarray] = {}
        for view in VIEWS:
            found = [self.rows.get((view.name, *(e[k] for k in view.entities))) for e in entities]
            at = self.events.get(view.name, np.datetime64("NaT"))
            times[view.name] = np.array(
                [np.datetime64("NaT") if row is None else at for row in found], dtype="datetime64[us]"
            )
            for feature in view.features:
                cells = [np.nan if row is None or np.isnat(at) else row[feature.name] for row in found]
                values[feature.name] = np.array(cells, dtype=np.float64)
        known = np.logical_and.reduce([~np.isnat(t) for t in times.values()])
        return Features(values, times, known)


def train(folder: Path, *, seed: int = 7, rounds: int = 25) -> Path:
    """Four small heads on made-up sales that react to display, mailer and price."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.gamma(1.0, 1.5, 3000) for name in MODEL_FEATURES})
    for name in ("plan_display", "plan_mailer"):
        frame[name] = rng.integers(0, 2, len(frame)).astype(float)
    frame["plan_both"] = frame["plan_display"] * frame["plan_mailer"]
    frame["plan_depth"] = rng.choice([0.0, 0.1, 0.2, 0.3], len(frame))
    frame["plan_price_ratio"] = 1.0 - frame["plan_depth"]
    frame.loc[rng.random(len(frame)) < 0.05, "transactions_lag_1"] = np.nan
    rate = np.exp(
        0.3 * frame["transactions_mean_4w"]
        + 1.2 * frame["plan_display"]
        + 0.7 * frame["plan_mailer"]
        + 3.0 * frame["plan_depth"]
        - 0.8
    )
    sold = rng.poisson(rate).astype(float)
    jittered = sold + rng.random(len(sold))
    targets = {
        "transactions": (sold, {"objective": "poisson"}),
        "units": (sold * 2, {"objective": "poisson"}),
        "transactions_q10": (jittered, {"objective": "quantile", "alpha": 0.1}),
        "transactions_q90": (jittered, {"objective": "quantile", "alpha": 0.9}),
    }
    fixed = {"verbose": -1, "num_threads": 1, "seed": seed, "deterministic": True, "num_leaves": 15}
    folder.mkdir(parents=True)
    for head, (target, chosen) in targets.items():
        data = lightgbm.Dataset(frame, target)
        lightgbm.train({**fixed, **chosen}, data, rounds).save_model(folder / f"{head}.lgb")
    plan = {
        "feature_service": "demand_serving_v1",
        "features": list(MODEL_FEATURES),
        "heads": {head: f"{head}.lgb" for head in HEADS},
        "recipe": fixed,
        "trained_through_week": 40,
        "seed": seed,
        "data_digest": "made-up",
        "defaults": {name: float(frame[name].median()) for name in MODEL_FEATURES},
        "interval": {"coverage": 0.8},
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("model") / "a")


@pytest.fixture(scope="session")
def other_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("model") / "b", seed=8, rounds=10)


@pytest.fixture(scope="session")
def golden() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(rng.gamma(1.0, 1.5, (5, len(MODEL_FEATURES))), columns=list(MODEL_FEATURES))
    rows.iloc[0, 0] = np.nan
    return rows


@pytest.fixture(scope="session")
def policy() -> Policy:
    return Policy(ppgs=PPGS, sentinel_outlet=OUTLETS[0], exploration_share=0.0)


Builder = Callable[..., Release]


@pytest.fixture
def release_of(settings: Settings, golden: pd.DataFrame, policy: Policy) -> Builder:
    """Builds a release of a model folder in the home of the test."""

    def make(folder: Path, version: str = "1") -> Release:
        versions = {"model_name": "demand", "model_version": version}
        return build(folder, releases_dir=settings.releases_dir, policy=policy, golden=golden, versions=versions)

    return make


@pytest.fixture
def release(release_of: Builder, model_folder: Path) -> Release:
    return release_of(model_folder)


@pytest.fixture
def loaded(release: Release) -> LoadedRelease:
    return load(release.folder)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore.filled()


@pytest.fixture
def limits() -> Limits:
    return Limits(read_deadline=timedelta(seconds=1), poll=timedelta(seconds=0.02))


@contextmanager
def serve(app: FastAPI) -> Iterator[httpx.Client]:
    """The application behind a real uvicorn on a port of its own, stopped and drained afterwards."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started:
            assert thread.is_alive(), "the server stopped while starting"
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive(), "the server did not stop"


Server = Callable[[FastAPI], AbstractContextManager[httpx.Client]]


@pytest.fixture(scope="session")
def serving() -> Server:
    return serve


@pytest.fixture
def active(settings: Settings, release: Release) -> Release:
    activate(release.id, releases_dir=settings.releases_dir)
    return release


@pytest.fixture
def newer(settings: Settings, active: Release, release_of: Builder, other_model_folder: Path) -> Release:
    """The release of version 2, which answers after that of version 1."""
    newer = release_of(other_model_folder, "2")
    activate(newer.id, releases_dir=settings.releases_dir)
    return newer


@pytest.fixture
def app(settings: Settings, active: Release, store: MemoryStore, limits: Limits) -> FastAPI:
    return create_app(settings, reader=store, limits=limits)


@pytest.fixture
def client(app: FastAPI) -> Iterator[httpx.Client]:
    with serve(app) as running:
        yield running


@pytest.fixture(scope="session")
def new_store() -> Callable[[], MemoryStore]:
    return MemoryStore.filled


@pytest.fixture(scope="session")
def make_settings(
    tmp_path_factory: pytest.TempPathFactory, model_folder: Path, golden: pd.DataFrame, policy: Policy
) -> Callable[[], Settings]:
    """Settings of a new home with an active release, for applications that many tests share."""

    def make() -> Settings:
        settings = load_settings(profile="local", home=tmp_path_factory.mktemp("home"))
        folder = settings.releases_dir
        release = build(model_folder, releases_dir=folder, policy=policy, golden=golden, versions={})
        activate(release.id, releases_dir=folder)
        return settings

    return make


@pytest.fixture
def guarded(settings: Settings, active: Release, store: MemoryStore, limits: Limits) -> Callable[..., FastAPI]:
    """Makes an application with access required in the home of the test, and settings of its own."""

    def make(**given: Any) -> FastAPI:
        chosen = Settings(**(settings.model_dump(exclude_unset=True) | {"access": "required"} | given))
        return create_app(chosen, reader=store, limits=limits)

    return make


@pytest.fixture
def key_of(settings: Settings) -> Callable[..., dict[str, str]]:
    """Makes a key with these roles and gives the headers that carry it."""

    def make(*roles: str, name: str = "app") -> dict[str, str]:
        key = ApiKeys(settings.access_dir).create(name, [Role(role) for role in roles], at=wall_now())
        return {"Authorization": f"Bearer {key}"}

    return make
