"""Promotion as people do it: by command, two at once, with a name that answers for it, and behind everybody's back."""

import json
import subprocess
import sys
import time

import pytest

from flows.steps.ledger import verify_ledger
from flows.steps.promote import PromotionRefusedError, ledger, promote
from poplift import registry
from poplift.alias_moves import MovedMeanwhileError
from poplift.registry import CHALLENGER, CHAMPION, DEMAND
from poplift.settings import child_environment, load_settings
from poplift.verdicts import VERDICT, file_digests, sign

OUTCOMES = {"1": "pass", "2": "pass", "3": "pass", "4": "refuse", "5": None}  # 5 was never judged


def judged_run(settings, client, experiment, folder, outcome):
    """A run with model files and, where it was judged, the gate's signed verdict on them."""
    (folder / registry.FILES).mkdir(parents=True)
    (folder / registry.FILES / "plan.json").write_text(folder.name)
    tags = {}
    if outcome is not None:
        record = {
            "model": DEMAND,
            "outcome": outcome,
            "reasons": ["said the gate"],
            "files": file_digests(folder / registry.FILES),
            "champion": None,
        }
        verdict = sign(record, key=settings.verdict_key.get_secret_value())
        (folder / VERDICT).write_text(verdict.to_json())
        tags = {**verdict.tags(), "gate_reasons": "said the gate"}
    run = client.create_run(experiment, tags=tags).info.run_id
    client.log_artifacts(run, str(folder))
    return run


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A tracking database with five versions and no alias; making it takes seconds, so the tests copy it."""
    settings = load_settings(home=tmp_path_factory.mktemp("mlflow"))
    client = registry.client(settings)
    experiment = client.create_experiment(registry.DEMAND, artifact_location=settings.mlflow_artifact_root)
    client.create_registered_model(DEMAND)
    for version, outcome in OUTCOMES.items():
        run = judged_run(settings, client, experiment, tmp_path_factory.mktemp(f"version-{version}"), outcome)
        client.create_model_version(DEMAND, "somewhere", run)
    return (settings.home / "mlflow.db").read_bytes()


@pytest.fixture
def home(tmp_path, template):
    """Version 1 is champion by the gate's word."""
    (tmp_path / "mlflow.db").write_bytes(template)
    settings = load_settings(home=tmp_path)
    promote(settings, who="ana", why="first", version="1")
    return settings


def champion(settings):
    return registry.by_alias(settings, name=DEMAND, alias=CHAMPION).version


def last(settings):
    return ledger(settings).moves(model=DEMAND)[-1]


def command(settings, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=child_environment(settings, COLUMNS="200"),
        cwd=settings.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_of_two_promoters_at_once_one_wins_and_the_other_is_told_who_did_what(home):
    both = {
        who: command(home, "promote", "--version", version, "--expect", "1", "--who", who, "--why", f"{who}'s reason")
        for who, version in (("ben", "2"), ("cem", "3"))
    }
    ended = {who: (*process.communicate(timeout=120), process.returncode) for who, process in both.items()}
    (winner,) = [who for who, (_, _, code) in ended.items() if code == 0]
    (loser,) = set(both) - {winner}
    version = {"ben": "2", "cem": "3"}[winner]
    _, told, code = ended[loser]
    assert code == 1
    assert f"champion is version {version}, not 1 as {loser} expected; {winner} moved it from 1 at" in told
    assert f"{winner}'s reason" in told
    assert not [said for _, said, _ in ended.values() if "Downloading" in said]
    assert champion(home) == version
    assert [(m.from_version, m.to_version) for m in ledger(home).moves(model=DEMAND)] == [(None, "1"), ("1", version)]
    assert verify_ledger(home).reasons == ()


@pytest.mark.slow
def test_a_promoter_killed_at_any_moment_leaves_ledger_and_mlflow_telling_the_same(home):
    for number, seconds in enumerate((3.0, 4.0, 5.0, 6.0)):
        process = command(home, "promote", "--version", str(2 + number % 2), "--who", "ben", "--why", "killed")
        time.sleep(seconds)
        process.kill()
        process.communicate(timeout=30)
        state = verify_ledger(home)
        assert (state.faults, state.not_asked) == ((), None)
        assert {m.who for m in ledger(home).moves(model=DEMAND)} <= {"ana", "ben"}
        assert last(home).to_version == champion(home)


@pytest.mark.slow
def test_the_ledger_command_shows_every_move_and_fails_when_something_is_wrong(home):
    registry.set_alias(home, name=DEMAND, alias=CHAMPION, version="4")
    out, _ = (process := command(home, "ledger", "--verify")).communicate(timeout=60)
    assert process.returncode == 1
    assert "none → 1" in out
    assert "1 → 4" in out
    assert "Version 4 is champion without a passing verdict (the gate said 'refuse'); mlflow moved it" in out
    assert "docs/runbooks/promoted-without-verdict.md" in out
    out, _ = (process := command(home, "ledger", "--json")).communicate(timeout=60)
    assert process.returncode == 0
    assert [e["to_version"] for e in json.loads(out)["entries"] if e["state"] == "moved"] == ["1", "4"]


def test_a_promoter_who_believes_in_another_champion_is_refused(home):
    promote(home, who="ben", why="newer weeks", version="2", expected="1")
    with pytest.raises(MovedMeanwhileError, match="ben moved it from 1"):
        promote(home, who="cem", why="mine", version="3", expected="1")
    with pytest.raises(MovedMeanwhileError, match="not none as cem expected"):
        promote(home, who="cem", why="mine", version="3", expected="none")
    assert champion(home) == "2"


def test_a_move_in_the_mlflow_ui_is_told_to_a_promoter_who_did_not_see_it(home):
    registry.set_alias(home, name=DEMAND, alias=CHAMPION, version="3")
    with pytest.raises(MovedMeanwhileError, match="mlflow moved it from 1"):
        promote(home, who="ben", why="newer weeks", version="2", expected="1")
    assert champion(home) == "3"


@pytest.mark.parametrize("version", ["4", "5"])
@pytest.mark.parametrize("incomplete", [{}, {"override": "anna", "why": " "}, {"override": ""}, {"override": " "}])
def test_without_a_passing_verdict_a_name_and_a_reason_are_needed(home, version, incomplete):
    with pytest.raises(PromotionRefusedError, match=r"champion unchanged\. A person may answer for it"):
        promote(home, **{"who": "ben", "why": "because", "version": version, **incomplete})
    assert champion(home) == "1"


def test_an_override_is_recorded_with_the_name_the_reason_and_what_the_gate_said(home):
    promote(home, who="ben", why="contract of the season", version="4", override="anna")
    assert (champion(home), last(home).verdict, last(home).override) == ("4", "refuse", "anna")
    assert last(home).verdict_digest is not None
    assert verify_ledger(home).reasons == ()


def test_an_override_that_is_not_needed_is_not_recorded(home):
    promote(home, who="ben", why="newer weeks", version="2", override="anna")
    assert last(home).override is None


def test_a_move_behind_everybodys_back_is_alerted_until_a_person_answers_or_it_is_taken_back(home):
    registry.set_alias(home, name=DEMAND, alias=CHAMPION, version="5")
    assert "Version 5 is champion without a passing verdict (the gate said 'none')" in verify_ledger(home).reasons[0]
    promote(home, who="ben", why="checked by hand", version="5", override="anna")
    assert verify_ledger(home).reasons == ()
    registry.set_alias(home, name=DEMAND, alias=CHAMPION, version="4")
    assert len(verify_ledger(home).reasons) == 1
    promote(home, who="ben", why="taken back", version="2")
    assert verify_ledger(home).reasons == ()


def test_a_challenger_moved_by_hand_is_in_the_ledger_too(home):
    registry.set_alias(home, name=DEMAND, alias=CHALLENGER, version="3")
    assert verify_ledger(home).faults == ()
    assert [m.to_version for m in ledger(home).moves(model=DEMAND, alias=CHALLENGER)] == ["3"]


def test_a_changed_ledger_is_told_with_its_runbook(home):
    path = home.home / "ledger.jsonl"
    path.write_text(path.read_text().replace('"why": "first"', '"why": "other"'))
    assert "The ledger is contradicted: ledger.jsonl line 2" in verify_ledger(home).reasons[0]
    assert "docs/runbooks/ledger-broken.md" in verify_ledger(home).reasons[0]


def test_a_verdict_whose_signature_does_not_hold_is_no_verdict(home):
    client = registry.client(home)
    run = client.get_model_version(DEMAND, "2").run_id
    client.set_tag(run, "verdict_sha256", "0" * 64)
    with pytest.raises(
        PromotionRefusedError, match=r"verdict is 'not trusted'.*its tags do not name its verdict\.json"
    ):
        promote(home, who="ben", why="newer weeks", version="2")
    other_key = load_settings(home=home.home, verdict_key="another")
    with pytest.raises(PromotionRefusedError, match=r"'not trusted'.*signed with another POPLIFT_VERDICT_KEY"):
        promote(other_key, who="ben", why="newer weeks", version="3")
    client.set_tag(client.get_model_version(DEMAND, "5").run_id, "gate", "pass")
    with pytest.raises(PromotionRefusedError, match="version 5 has no signed verdict"):
        promote(home, who="ben", why="said by hand", version="5")
