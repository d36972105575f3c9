"""An alias is moved by one mover at a time, and the ledger tells what MLflow cannot: who, why, and on which verdict."""

from dataclasses import replace

import pytest

from poplift import alias_moves, registry
from poplift.alias_moves import Judged, MovedMeanwhileError, Wanted
from poplift.registry import CHAMPION, RegistryError
from poplift.settings import load_settings

MODEL = "demand"
WANTED = Wanted("1", None, "ana", "the gate passed", Judged("pass", "ab12"))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A tracking database with versions 1 to 3 and no alias: making it takes seconds, so the tests copy it."""
    settings = load_settings(home=tmp_path_factory.mktemp("mlflow"))
    client = registry.client(settings)
    experiment = client.create_experiment("demand", artifact_location=settings.mlflow_artifact_root)
    client.create_registered_model(MODEL)
    for _ in range(3):
        client.create_model_version(MODEL, "somewhere", client.create_run(experiment).info.run_id)
    return (settings.home / "mlflow.db").read_bytes()


@pytest.fixture
def home(tmp_path, template):
    (tmp_path / "mlflow.db").write_bytes(template)
    return load_settings(home=tmp_path)


def move(settings, wanted=WANTED):
    alias_moves.move_alias(settings, model=MODEL, alias=CHAMPION, wanted=wanted)


def reconcile(settings, word="refuse"):
    found = alias_moves.reconcile(settings, model=MODEL, alias=CHAMPION, judge=lambda _: Judged(word))
    return found.version if found else None


def champion(settings):
    found = registry.by_alias(settings, name=MODEL, alias=CHAMPION)
    return found.version if found else None


def told(settings):
    moves = alias_moves.ledger(settings).moves(model=MODEL)
    return [(m.from_version, m.to_version, m.who, m.verdict) for m in moves]


def faults(settings):
    return alias_moves.faults(settings, model=MODEL, aliases=(CHAMPION,))


def test_a_move_is_made_and_told_with_its_verdict(home):
    move(home)
    assert champion(home) == "1"
    (made,) = alias_moves.ledger(home).moves(model=MODEL)
    assert (made.who, made.why, made.verdict, made.verdict_digest) == ("ana", "the gate passed", "pass", "ab12")
    assert faults(home) == ()


def test_whoever_expects_another_champion_moves_nothing_and_is_told_who_was_quicker(home):
    move(home)
    move(home, Wanted("2", "1", "ben", "newer weeks", Judged("pass")))
    with pytest.raises(
        MovedMeanwhileError, match=r"champion is version 2, not 1 as cem expected; ben moved it from 1 at"
    ):
        move(home, Wanted("3", "1", "cem", "my own", Judged("pass")))
    assert champion(home) == "2"
    assert len(told(home)) == 2


def test_a_move_made_in_mlflow_is_written_down_once_with_the_verdict_of_its_version(home):
    move(home)
    registry.set_alias(home, name=MODEL, alias=CHAMPION, version="2")
    assert faults(home) == (f"{MODEL} champion: MLflow says version 2, the ledger 1",)
    assert [reconcile(home), reconcile(home)] == ["2", "2"]
    assert told(home) == [(None, "1", "ana", "pass"), ("1", "2", "mlflow", "refuse")]
    assert faults(home) == ()
    assert alias_moves.unverified(home, model=MODEL, alias=CHAMPION).to_version == "2"


def test_an_alias_that_was_taken_away_is_written_down_too(home):
    move(home)
    registry.client(home).delete_registered_model_alias(MODEL, CHAMPION)
    assert reconcile(home) is None
    assert told(home)[-1] == ("1", None, "mlflow", "none")
    assert alias_moves.unverified(home, model=MODEL, alias=CHAMPION) is None


def test_a_named_person_who_answers_for_it_ends_the_alert(home):
    registry.set_alias(home, name=MODEL, alias=CHAMPION, version="2")
    reconcile(home)
    wanted = Wanted("2", "2", "cli", "contract of the season", Judged("refuse"), override="anna")
    alias_moves.acknowledge(home, model=MODEL, alias=CHAMPION, wanted=wanted)
    assert alias_moves.unverified(home, model=MODEL, alias=CHAMPION) is None
    assert alias_moves.ledger(home).moves(model=MODEL)[-1].override == "anna"


@pytest.mark.parametrize("state", ["intended", "owed"])
def test_a_mover_killed_after_the_alias_moved_is_still_told_by_name(home, state):
    alias_moves.announce(home, model=MODEL, alias=CHAMPION, wanted=WANTED, state=state)
    registry.set_alias(home, name=MODEL, alias=CHAMPION, version="1")
    assert [reconcile(home), reconcile(home)] == ["1", "1"]
    assert told(home) == [(None, "1", "ana", "pass")]


def test_a_mover_killed_before_the_alias_moved_has_moved_nothing(home):
    alias_moves.announce(home, model=MODEL, alias=CHAMPION, wanted=WANTED)
    assert reconcile(home) is None
    assert told(home) == []
    assert [e.move.state for e in alias_moves.ledger(home).entries()] == ["intended", "dropped"]


def test_a_move_owed_while_mlflow_was_down_is_made_once_it_is_back(home):
    move(home)
    move(home, Wanted("2", "1", "ben", "newer weeks", Judged("pass")))
    owed = Wanted("1", "2", "cem", "complaints", Judged("pass"))
    alias_moves.announce(home, model=MODEL, alias=CHAMPION, wanted=owed, state="owed")
    assert champion(home) == "2"
    assert [reconcile(home), reconcile(home)] == ["1", "1"]
    assert champion(home) == "1"
    assert told(home)[-1] == ("2", "1", "cem", "pass")
    assert len(told(home)) == 3


def test_an_owed_move_does_not_undo_what_somebody_did_since(home):
    move(home)
    move(home, Wanted("2", "1", "ben", "newer weeks", Judged("pass")))
    owed = Wanted("1", "2", "cem", "complaints", Judged("pass"))
    alias_moves.announce(home, model=MODEL, alias=CHAMPION, wanted=owed, state="owed")
    registry.set_alias(home, name=MODEL, alias=CHAMPION, version="3")
    assert reconcile(home) == "3"
    assert told(home)[-1] == ("2", "3", "mlflow", "refuse")


def test_a_ledger_whose_end_was_cut_off_is_found_by_what_mlflow_remembers(home):
    move(home)
    move(home, Wanted("2", "1", "ben", "newer weeks", Judged("pass")))
    path = home.home / "ledger.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert alias_moves.ledger(home).faults() == ()
    assert "line 4 is not there" in faults(home)[-1]


def test_a_move_is_announced_while_mlflow_does_not_answer(home, free_port):
    move(home)
    down = load_settings(home=home.home, mlflow_url=f"http://127.0.0.1:{free_port}")
    wanted = replace(WANTED, to_version="2", expected="1")
    alias_moves.announce(down, model=MODEL, alias=CHAMPION, wanted=wanted, state="owed")
    assert [e.move.state for e in alias_moves.ledger(down).entries()] == ["intended", "moved", "owed"]


def test_an_alias_that_one_flow_moves_is_told_with_that_flow(home):
    for version in ("1", "3"):
        alias_moves.point(
            home, model=MODEL, alias="challenger", version=version, who="train", why="passed", judged=Judged("pass")
        )
    moves = alias_moves.ledger(home).moves(model=MODEL, alias="challenger")
    assert [(m.from_version, m.to_version, m.who) for m in moves] == [(None, "1", "train"), ("1", "3", "train")]
    assert alias_moves.faults(home, model=MODEL, aliases=(CHAMPION, "challenger")) == ()


def test_a_version_that_does_not_exist_is_told_as_such(home):
    with pytest.raises(RegistryError, match="model demand has no version 9; the MLflow page lists"):
        registry.by_number(home, name=MODEL, version="9")
