"""A challenger beside the champion: in the shadow it changes no answer, as a canary it keeps its outlets, and any
failure of it ends it and no request."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import lightgbm
import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI

from poplift.assignment import position
from poplift.settings import Settings
from serving.app import create_app
from serving.challenger import Challenger, CurrentChallenger
from serving.pointer import Placed, place, read_challenger
from serving.release import Release

from .conftest import OUTLETS, PPGS


def wait_for(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def version(client: httpx.Client) -> Any:
    return client.get("/version").json()


def ask(client: httpx.Client, outlet: str) -> Any:
    answer = client.get(f"/v1/recommendations/{outlet}", params={"limit": 5})
    assert answer.status_code == 200, answer.text
    return answer.json()


def demand(client: httpx.Client, *outlets: str) -> Any:
    rows = [{"outlet_id": outlet, "ppg_id": PPGS[0], "activation": {"display": True}} for outlet in outlets]
    answer = client.post("/v1/demand", json={"rows": rows})
    assert answer.status_code == 200, answer.text
    return answer.json()


def logged(settings: Settings) -> list[Any]:
    return [json.loads(line) for f in settings.decisions_dir.glob("*.jsonl") for line in f.read_text().splitlines()]


@pytest.fixture
def rival(release_of: Any, other_model_folder: Path) -> Release:
    built: Release = release_of(other_model_folder, "2")
    return built


@dataclass(frozen=True)
class Home:
    """An application over an active release, and how a challenger is put beside it."""

    settings: Settings
    active: Release
    app: FastAPI
    serving: Any

    def run(self) -> AbstractContextManager[httpx.Client]:
        started: AbstractContextManager[httpx.Client] = self.serving(self.app)
        return started

    def beside(self, release: Release, share: float = 0.0) -> None:
        place(self.settings.releases_dir, Placed(release.id, share), beside=self.active.id)

    def stopped(self) -> str:
        """Why the challenger was stopped, once it is."""
        wait_for(lambda: (placed := read_challenger(self.settings.releases_dir)) and placed.stopped)
        placed = read_challenger(self.settings.releases_dir)
        assert placed is not None
        return str(placed.stopped)


@pytest.fixture
def home(settings: Settings, active: Release, app: FastAPI, serving: Any) -> Home:
    return Home(settings, active, app, serving)


def share_between(release: Release) -> tuple[float, str, str]:
    """A share with one outlet inside and the other outside."""
    places = sorted((position(release.id, outlet, purpose="canary"), outlet) for outlet in OUTLETS)
    return (places[0][0] + places[1][0]) / 2, places[0][1], places[1][1]


def test_in_the_shadow_no_answer_changes_and_every_decision_gets_the_challengers_beside_it(
    home: Home, rival: Release
) -> None:
    with home.run() as client:
        before = ask(client, OUTLETS[0])
        home.beside(rival)
        wait_for(lambda: version(client)["challenger_id"] == rival.id)
        after = ask(client, OUTLETS[0])
        asked = demand(client, *OUTLETS)
    told = [[(r["ppg_id"], r["recommended"]) for r in answer["recommendations"]] for answer in (before, after)]
    assert told[0] == told[1]
    assert after["release"]["id"] == asked["release"]["id"] == home.active.id
    rows = {row["decision_id"]: row for row in logged(home.settings)}
    shadows = {row["shadow_of"]: row for row in rows.values() if row["kind"] == "shadow"}
    served = [r["decision_id"] for r in [*after["recommendations"], *asked["rows"]]]
    assert sorted(shadows) == sorted(served)
    for of, shadow in shadows.items():
        kept = ("outlet_id", "ppg_id", "week_start", "business_time", "features", "degraded", "flags", "request_id")
        if rows[of]["kind"] == "recommendation" and shadow["activation"] != rows[of]["activation"]:
            kept = tuple(name for name in kept if name != "features")
        assert {name: shadow[name] for name in kept} == {name: rows[of][name] for name in kept}
        assert (shadow["release_id"], shadow["model_version"]) == (rival.id, "2")
        plans = [[c["activation"] for c in row["candidates"]] for row in (shadow, rows[of])]
        assert plans[0] == plans[1]
        assert shadow["milliseconds"] > 0
        assert shadow["served_milliseconds"] > 0
    assert any(
        s["candidates"][0]["transactions"] != rows[of]["candidates"][0]["transactions"] for of, s in shadows.items()
    )


def test_a_canary_answers_its_outlets_every_time_and_the_champion_all_others(home: Home, rival: Release) -> None:
    share, inside, outside = share_between(rival)
    home.beside(rival, share)
    with home.run() as client:
        assert {ask(client, inside)["release"]["id"] for _ in range(5)} == {rival.id}
        assert {ask(client, outside)["release"]["id"] for _ in range(5)} == {home.active.id}
        assert demand(client, inside)["release"]["id"] == rival.id
        assert demand(client, inside, outside)["release"]["id"] == home.active.id
    rows = logged(home.settings)
    by_release = {(row["outlet_id"], row["release_id"]) for row in rows if row["kind"] == "recommendation"}
    assert by_release == {(inside, rival.id), (outside, home.active.id)}
    in_shadow = {(row["outlet_id"], row["release_id"]) for row in rows if row["kind"] == "shadow"}
    assert in_shadow >= {(inside, home.active.id), (outside, rival.id)}


@pytest.fixture
def non_finite(tmp_path: Path, model_folder: Path, golden: pd.DataFrame, release_of: Any) -> Release:
    """A release that verifies, for its golden rows never come to the leaves that are no numbers."""
    folder = Path(shutil.copytree(model_folder, tmp_path / "non-finite"))
    defaults = json.loads((folder / "plan.json").read_text())["defaults"]
    file = folder / "transactions.lgb"
    reached = lightgbm.Booster(model_file=file).predict(golden.fillna(defaults), pred_leaf=True)
    before, mark, after = file.read_text().partition("\nleaf_value=")
    values, _, rest = after.partition("\n")
    spoiled = [v if leaf in np.asarray(reached)[:, 0] else "inf" for leaf, v in enumerate(values.split(" "))]
    sized = "\n".join(line for line in before.splitlines() if not line.startswith("tree_sizes="))
    file.write_text(f"{sized}{mark}{' '.join(spoiled)}\n{rest}")
    built: Release = release_of(folder, "3")
    return built


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_challenger_whose_numbers_are_none_is_stopped_for_all_and_no_request_fails(
    home: Home, non_finite: Release, share: float
) -> None:
    home.beside(non_finite, share)
    with home.run() as client:
        assert ask(client, OUTLETS[0])["release"]["id"] == home.active.id
        assert "non-finite answer" in home.stopped()
        assert ask(client, OUTLETS[0])["release"]["id"] == home.active.id
        assert version(client)["challenger_id"] is None
        assert "non-finite answer" in version(client)["challenger_error"]
        assert "poplift_challenger_stopped_total 1.0" in client.get("/metrics").text


class Broken:
    """Heads that fail at every question."""

    def __init__(self, heads: Any) -> None:
        self._heads = heads

    def __getattr__(self, name: str) -> Any:
        return getattr(self._heads, name)

    def predict(self, rows: Any) -> Any:
        raise RuntimeError("out of memory")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_challenger_that_raises_is_stopped_and_the_champion_answers_the_same_request(
    home: Home, rival: Release, share: float
) -> None:
    home.beside(rival, share)
    current: CurrentChallenger = home.app.state.service.challenger
    with home.run() as client:
        running = current.get()
        assert running is not None
        current._running = Challenger(replace(running.release, heads=Broken(running.release.heads)), share)
        assert ask(client, OUTLETS[0])["release"]["id"] == home.active.id
        assert "RuntimeError: out of memory" in home.stopped()
        assert current.get() is None


def test_what_one_process_stops_every_other_one_stops_with_its_next_look(home: Home, rival: Release) -> None:
    told: list[str] = []
    one, other = (
        CurrentChallenger(home.settings.releases_dir, on_stop=lambda _, why: told.append(why)) for _ in range(2)
    )
    home.beside(rival, 0.5)
    one.refresh()
    other.refresh()
    one.stop(rival.id, "scoring error")
    one.stop(rival.id, "scoring error again")
    assert one.get() is None
    home.stopped()
    other.refresh()
    one.refresh()
    assert other.get() is one.get() is None
    assert told == ["scoring error"]
    home.beside(rival, 0.5)  # a person starts it anew
    wait_for(lambda: one.refresh() or one.get())


def test_a_challenger_that_was_tampered_with_is_refused_and_stopped(home: Home, rival: Release) -> None:
    home.beside(rival, 1.0)
    path = rival.folder / "units.lgb"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with home.run() as client:
        assert ask(client, OUTLETS[0])["release"]["id"] == home.active.id
        stopped = home.stopped()
        assert "release refused" in stopped
        assert "units.lgb" in stopped


def test_a_challenger_entry_that_cannot_be_read_leaves_the_champion_alone(home: Home) -> None:
    (home.settings.releases_dir / "current").write_text(
        f'{{"id": "{home.active.id}", "previous": null, "challenger": 3}}'
    )
    with home.run() as client:
        assert ask(client, OUTLETS[0])["release"]["id"] == home.active.id
        assert version(client)["release_error"] is None
        assert "cannot be read" in version(client)["challenger_error"]


@pytest.fixture
def hung(home: Home, rival: Release) -> Iterator[tuple[httpx.Client, threading.Event]]:
    """A service whose challenger hangs in the shadow, and what lets it go on."""
    home.beside(rival)
    goes_on = threading.Event()

    class Hanging(Broken):
        def predict(self, rows: Any) -> Any:
            goes_on.wait(20)
            return self._heads.predict(rows)

    with home.run() as client:
        current: CurrentChallenger = home.app.state.service.challenger
        running = current.get()
        assert running is not None
        current._running = Challenger(replace(running.release, heads=Hanging(running.release.heads)), 0.0)
        try:
            yield client, goes_on
        finally:
            goes_on.set()


def test_a_shadow_that_hangs_costs_no_request_anything_and_what_does_not_fit_is_counted(
    home: Home, hung: tuple[httpx.Client, threading.Event]
) -> None:
    client, goes_on = hung
    shadow = home.app.state.service.shadow
    shadow._capacity = 3 * len(PPGS)
    began = time.monotonic()
    answers = [ask(client, OUTLETS[0]) for _ in range(20)]
    assert time.monotonic() - began < 5
    assert {answer["release"]["model_version"] for answer in answers} == {"1"}
    assert f"poplift_shadow_dropped_total {17 * 5:.1f}" in client.get("/metrics").text
    goes_on.set()
    wait_for(lambda: f"poplift_shadow_rows_total {3 * 5:.1f}" in client.get("/metrics").text)
    wait_for(lambda: sum(row["kind"] == "shadow" for row in logged(home.settings)) == 3 * 5)
    assert shadow._waiting == 0


def test_the_store_is_asked_once_for_both_releases(home: Home, store: Any, limits: Any, rival: Release) -> None:
    home.beside(rival)
    with home.serving(create_app(home.settings, reader=store, limits=limits)) as client:
        before = store.reads
        ask(client, OUTLETS[0])
        wait_for(lambda: "poplift_shadow_rows_total 5.0" in client.get("/metrics").text)
        assert store.reads == before + 1
