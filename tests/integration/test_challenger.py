"""A challenger's time beside the champion: placed, judged on real sales, demoted or promoted on what was seen."""

import json
import shutil
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from flows.steps import monitor, release
from flows.steps.challenger import NoChallengerError, journal, judge, look, place, place_if_wanted, settle, take_away
from flows.steps.ledger import verify_ledger
from flows.steps.outcomes import realised
from flows.steps.promote import PromotionRefusedError, ledger, promote, promote_if_new
from flows.steps.release import refresh_release
from poplift import registry
from poplift.registry import CHALLENGER, CHAMPION, DEMAND, RegistryError
from poplift.settings import load_settings
from poplift.verdicts import LIVE, verified_verdict
from serving import pointer
from serving.current import load_current
from serving.pointer import read_challenger
from tests.registered_models import register, training_rows

# MLflow says this of a class of its own when its pyfunc module is first imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")

MONDAYS = (date(2017, 11, 27), date(2017, 12, 4))  # weeks 49 and 50
LANDED = datetime(2017, 12, 12, 5, tzinfo=UTC)
NONE = {"display": False, "mailer": False, "price_cut": 0.0}
PLANS = [
    {"display": d, "mailer": m, "price_cut": c} for d in (False, True) for m in (False, True) for c in (0, 0.1, 0.2)
]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A tracking database with two versions that the gate passed; registering takes seconds, so the tests copy it."""
    settings, rows = load_settings(home=tmp_path_factory.mktemp("mlflow")), training_rows()
    for seed in range(2):
        register(settings, tmp_path_factory.mktemp("run"), rows, seed=seed)
    return settings.home / "mlflow.db"


@pytest.fixture
def home(tmp_path, small_home, database, monkeypatch):
    """Version 1 is champion and served, version 2 challenger; two decided weeks have landed."""
    (tmp_path / "lake").symlink_to(small_home.settings.lake_dir)
    shutil.copy(database, tmp_path / "mlflow.db")
    settings = load_settings(home=tmp_path, business_time=LANDED)
    promote(settings, who="ana", why="first", version="1")
    refresh_release(settings)
    registry.set_alias(settings, name=DEMAND, alias=CHALLENGER, version="2")
    # the small home has eight managed outlets
    monkeypatch.setattr("monitoring.challenger.LEAST_OUTLETS", 8)
    return settings


@pytest.fixture(scope="module")
def sold(small_home):
    """What was sold in both weeks, every managed cell."""
    first_day = (MONDAYS[0] - date(1970, 1, 1)).days
    return realised(small_home.settings, as_of=LANDED, first_day=first_day)


def answer(settings, sold, placed, *, champion, challenger):
    """Log what both releases said of every cell; `champion` and `challenger` make forecasts from what was sold."""
    settings.decisions_dir.mkdir(exist_ok=True)
    ids = {"champion": pointer.read_pointer(settings.releases_dir)["id"], "challenger": placed.release_id}
    said = {"champion": champion(sold), "challenger": challenger(sold)}
    lines = []
    for n, (outlet, ppg, day) in enumerate(sold[["outlet_id", "ppg_id", "week_start_day"]].itertuples(index=False)):
        served = "challenger" if placed.share and n % 3 else "champion"
        beside = "champion" if served == "challenger" else "challenger"
        monday = date(1970, 1, 1) + timedelta(days=int(day))
        for who, more in (
            (served, {"decision_id": f"{n}", "kind": "recommendation"}),
            (beside, {"decision_id": f"s{n}", "kind": "shadow", "shadow_of": f"{n}"}),
        ):
            number = float(said[who][n])
            bounds = {"transactions_low": 0.0, "transactions_high": 9.0, "units": number}
            row = {
                **more,
                "wall_time": "2026-01-01T00:00:00+00:00",
                "business_time": datetime.combine(monday, datetime.min.time(), UTC).isoformat(),
                "week_start": monday.isoformat(),
                "outlet_id": outlet,
                "ppg_id": ppg,
                "release_id": ids[who],
                "degraded": False,
                "activation": NONE,
                "candidates": [{"activation": plan, "transactions": number, **bounds} for plan in PLANS],
                "milliseconds": 5.0,
                "served_milliseconds": 5.0,
            }
            lines.append(json.dumps(row))
    (settings.decisions_dir / "2026-01-01-a.jsonl").write_text("\n".join(lines) + "\n")


def near(sold):
    """Forecasts close to what was sold."""
    return np.maximum(sold["transactions"].to_numpy(dtype=float), 0.1)


def off(sold):
    """Forecasts that know nothing of the cell."""
    return np.full(len(sold), max(float(sold["transactions"].mean()), 0.1))


def alias(settings, name):
    found = registry.by_alias(settings, name=DEMAND, alias=name)
    return found.version if found else None


def version(settings, number):
    return registry.by_number(settings, name=DEMAND, version=number)


def test_a_canary_that_does_harm_is_stopped_for_all_demoted_and_the_ledger_says_why(home, sold):
    placed = place(home, share=0.2, who="ana", why="careful")
    answer(home, sold, placed, champion=near, challenger=off)
    assert look(home).judgement.outcome == "stop"
    assert alias(home, CHALLENGER) == "2"  # a look changes nothing
    assert monitor._challenger(home)["Challenger check"]().status == "warn"
    ended = judge(home, who="challenger flow")
    assert ended.is_demoted
    assert read_challenger(home.releases_dir) is None
    assert load_current(home.releases_dir).versions["model_version"] == "1"
    assert alias(home, CHALLENGER) is None
    move = ledger(home).moves(model=DEMAND, alias=CHALLENGER)[-1]
    assert (move.from_version, move.to_version, move.who) == ("2", None, "challenger flow")
    assert (move.verdict, move.live, move.live_digest) == ("pass", "stop", ended.signed.sha256)
    assert "surely worse" in move.why
    assert verify_ledger(home).reasons == ()
    assert [line.record["what"] for line in journal(home).lines()] == ["placed", "demoted"]
    kept = verified_verdict(home, version(home, "2"), LIVE)
    assert kept.record["figures"]["deviance_change"]["low"] > 0
    assert (kept.record["stage"], kept.champion) == ("canary", "1")


def test_what_did_harm_is_promoted_only_when_somebody_answers_for_it(home, sold):
    answer(home, sold, place(home, share=0.2, who="ana", why="careful"), champion=near, challenger=off)
    judge(home)
    with pytest.raises(RegistryError, match="no challenger"):
        promote(home, who="ana", why="now")
    with pytest.raises(PromotionRefusedError, match="its live verdict is 'stop' as canary beside version 1"):
        promote(home, who="ana", why="now", version="2")
    promote(home, who="ana", why="knows the new pack", version="2", override="Anna Berg")
    move = ledger(home).moves(model=DEMAND)[-1]
    assert (move.to_version, move.live, move.override) == ("2", "stop", "Anna Berg")


def test_a_challenger_that_passed_live_is_promoted_on_it_and_its_very_release_is_served(home, sold):
    placed = place(home, share=0.2, who="ana", why="careful")
    answer(home, sold, placed, champion=off, challenger=near)
    ended = judge(home)
    assert (ended.signed.outcome, ended.is_demoted) == ("pass", False)
    assert read_challenger(home.releases_dir) == placed
    asks = load_settings(home=home.home, business_time=LANDED, promote_after="canary")
    assert promote(asks, who="ana", why="passed live").version == "2"
    move = ledger(home).moves(model=DEMAND)[-1]
    assert (move.live, move.live_digest, move.override) == ("pass", ended.signed.sha256, None)
    assert refresh_release(home).id == placed.release_id
    assert read_challenger(home.releases_dir) is None


@pytest.mark.parametrize(
    ("needs", "share", "is_enough"), [("shadow", 0.0, True), ("canary", 0.0, False), ("shadow", 0.2, True)]
)
def test_a_live_pass_counts_at_the_stage_that_is_asked_for_or_a_later_one(home, sold, needs, share, is_enough):
    asks = load_settings(home=home.home, business_time=LANDED, promote_after=needs)
    with pytest.raises(PromotionRefusedError, match=f"PROMOTE_AFTER={needs} wants .* run `poplift challenger {needs}`"):
        promote(asks, who="ana", why="now")
    assert promote_if_new(asks, who="weekly flow", why="the gate passed") is None
    answer(home, sold, place(home, share=share, who="ana", why="careful"), champion=off, challenger=near)
    judge(home)
    promoted = promote_if_new(asks, who="weekly flow", why="the gate passed")
    assert (promoted is not None) == is_enough


def test_a_live_verdict_beside_another_champion_or_without_a_seal_does_not_count(home, sold):
    answer(home, sold, place(home, share=0.0, who="ana", why="careful"), champion=off, challenger=near)
    judge(home)
    asks = load_settings(home=home.home, business_time=LANDED, promote_after="shadow")
    registry.client(home).set_tag(version(home, "2").run_id, LIVE.digest_tag, "0" * 64)
    with pytest.raises(PromotionRefusedError, match="its live verdict is 'not trusted'"):
        promote(home, who="ana", why="now")
    judge(home)
    promote(home, who="ana", why="the other way", version="2")
    promote(home, who="ana", why="back", version="1")
    registry.set_alias(home, name=DEMAND, alias=CHAMPION, version="2")
    with pytest.raises(PromotionRefusedError, match="wants a passing live verdict beside version 2, and it has none"):
        promote(asks, who="ana", why="now", version="1")


def test_before_outcomes_there_is_no_evidence_and_a_promotion_by_the_gate_goes_as_ever(home):
    placed = place(home, share=0.0, who="ana", why="careful")
    assert judge(home).signed.outcome == "not enough evidence"
    assert read_challenger(home.releases_dir) == placed
    assert promote(home, who="ana", why="the gate passed").version == "2"
    assert ledger(home).moves(model=DEMAND)[-1].live == "not enough evidence"


def test_the_commands_say_what_stands_beside_the_champion_how_it_does_and_that_it_is_gone(home, sold, command):
    said = command(home, "challenger", "shadow", "--who", "ana")
    placed = read_challenger(home.releases_dir)
    assert said.endswith(f"release {placed.release_id} answers in the shadow; next: poplift challenger status\n")
    answer(home, sold, placed, champion=off, challenger=near)
    said = command(home, "challenger", "status")
    assert f"{placed.release_id} as shadow beside {pointer.read_pointer(home.releases_dir)['id']}" in said
    assert "Live verdict: pass" in said
    found = json.loads(command(home, "challenger", "status", "--json"))
    assert (found["version"], found["champion_version"], found["outcome"]) == ("2", "1", "pass")
    assert found["figures"]["deviance_change"]["high"] < 0
    assert LIVE.outcome_tag not in version(home, "2").tags  # a look seals nothing
    assert "answers nobody any more" in command(home, "challenger", "stop", "--why", "enough")
    assert read_challenger(home.releases_dir) is None
    said = command(home, "challenger", "canary", "--share", "0.2")
    assert "answers 20.0% of the outlets; next: poplift challenger judge" in said
    answer(home, sold, read_challenger(home.releases_dir), champion=near, challenger=off)
    said = command(home, "challenger", "judge", "--who", "ben")
    assert "Live verdict: stop" in said
    assert "stopped: the champion answers everyone, the alias challenger is taken away, the ledger says why" in said
    assert alias(home, CHALLENGER) is None
    assert ledger(home).moves(model=DEMAND, alias=CHALLENGER)[-1].who == "ben"


def test_what_serving_stopped_is_written_down_once_mlflow_answers(home, free_port, monkeypatch):
    placed = place(home, share=0.2, who="ana", why="careful")
    assert settle(home) is None
    pointer.stop(home.releases_dir, placed.release_id, why="scoring error: RuntimeError: no memory")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = load_settings(home=home.home, business_time=LANDED, mlflow_url=f"http://127.0.0.1:{free_port}")
    with pytest.raises(Exception, match=r"Max retries|Connection"):
        settle(down)
    assert read_challenger(home.releases_dir).stopped
    assert settle(home).is_demoted
    move = ledger(home).moves(model=DEMAND, alias=CHALLENGER)[-1]
    assert (move.to_version, move.who, move.live) == (None, "serving", "stop")
    assert "no memory" in move.why
    assert read_challenger(home.releases_dir) is None


def test_a_newer_challenger_is_not_demoted_for_the_one_that_was_beside_the_champion(home, sold):
    answer(home, sold, place(home, share=0.2, who="ana", why="careful"), champion=near, challenger=off)
    registry.set_alias(home, name=DEMAND, alias=CHALLENGER, version="1")
    assert judge(home).is_demoted
    assert alias(home, CHALLENGER) == "1"
    assert read_challenger(home.releases_dir) is None


def test_only_what_the_gate_passed_answers_outlets_and_the_shadow_is_open_to_all(home):
    registry.client(home).set_tag(version(home, "2").run_id, "gate", "refuse")
    with pytest.raises(PromotionRefusedError, match="answers no outlet; the shadow is open"):
        place(home, share=0.1, who="ana", why="now")
    assert place(home, share=0.0, who="ana", why="now").share == 0.0
    take_away(home, who="ana", why="enough")
    assert alias(home, CHALLENGER) == "2"
    for nothing in (look, judge):
        with pytest.raises(NoChallengerError, match="no challenger stands beside the champion"):
            nothing(home)
    with pytest.raises(NoChallengerError, match="nothing to stop"):
        take_away(home, who="ana", why="enough")


def test_the_champion_is_not_its_own_challenger_under_another_policy_either(home, monkeypatch):
    registry.set_alias(home, name=DEMAND, alias=CHALLENGER, version="1")
    declared = release.policy(home)
    monkeypatch.setattr(release, "policy", lambda _: declared.model_copy(update={"holdout_share": 0.2}))
    with pytest.raises(RegistryError, match="version 1 is champion already"):
        place(home, share=0.0, who="ana", why="now")


def test_where_promotions_need_it_a_new_challenger_goes_into_the_shadow_by_itself(home):
    assert place_if_wanted(home, who="challenger flow") is None
    asks = load_settings(home=home.home, business_time=LANDED, promote_after="canary")
    placed = place_if_wanted(asks, who="challenger flow")
    assert placed.share == 0.0
    assert place_if_wanted(asks, who="challenger flow") is None
    take_away(home, who="ana", why="enough")
    registry.set_alias(home, name=DEMAND, alias=CHALLENGER, version="1")
    assert place_if_wanted(asks, who="challenger flow") is None
