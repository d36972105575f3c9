"""The gate on real data and behind MLflow: what is kept of a training, and what a version must hold to be believed."""

import json
import pickle
import re
from pathlib import Path

import pytest

from feature_repo.definitions.repository import objects
from flows.steps.gate import judge_candidate, known_at
from flows.steps.train import train_challenger, training_set
from poplift import feature_store, registry
from poplift.contracts.tables import CONTRACTS
from poplift.databases import ensure_databases
from poplift.lake import Lake
from poplift.registry import CHALLENGER, CHAMPION, DEMAND, FILES
from poplift.settings import load_settings
from poplift.verdicts import VERDICT, VerdictError, file_digests, parse, sign, verified_verdict
from training import demand, model_card
from training.gate import judge
from training.gate.knowledge import check_point_in_time

# MLflow says this of a class of its own when its pyfunc module is first imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def home(small_home, tmp_path_factory):
    """Lake and features of the small home, and an MLflow of its own."""
    settings = load_settings(home=tmp_path_factory.mktemp("gate"), search_trials=1)
    settings.features_dir.symlink_to(small_home.settings.features_dir)
    settings.lake_dir.mkdir()
    for contract in CONTRACTS:
        (settings.lake_dir / contract.table).symlink_to(small_home.settings.lake_dir / contract.table)
    _tell_profiles(Lake(settings.lake_dir), as_of=settings.business_time)
    ensure_databases(settings)
    feature_store.apply(settings, objects(settings))
    return settings


def _tell_profiles(lake, *, as_of):
    """Four of the eight managed outlets stand in the town, of the others nobody told anything."""
    managed = f"SELECT outlet_id FROM ({lake.query('outlets', as_of=as_of)}) WHERE is_managed ORDER BY 1 LIMIT 4"
    at = f"TIMESTAMPTZ '{as_of.isoformat()}'"
    lake.append(
        "outlet_profiles",
        f"SELECT outlet_id, 'kiosk' AS banner, 'town' AS area, NULL::DOUBLE AS income, NULL::DOUBLE AS coolers, "
        f"{at} AS effective_at, {at} AS created_at FROM ({managed})",
    )


@pytest.fixture(scope="module")
def data(home):
    return training_set(home)


@pytest.fixture(scope="module")
def trained(home, data):
    return train_challenger(home, data=data)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """An empty tracking database; making one takes seconds, so the tests copy it."""
    settings = load_settings(home=tmp_path_factory.mktemp("mlflow"))
    registry.client(settings).create_registered_model(DEMAND)
    return (settings.home / "mlflow.db").read_bytes()


@pytest.fixture
def version(home, trained, database, tmp_path):
    """The trained run as a version, as if the gate had passed it, in a registry of its own; `spoil` it before use."""

    def registered(spoil=lambda _folder, _tags: None, *, key=None, about=file_digests):
        (tmp_path / "mlflow.db").write_bytes(database)
        settings = load_settings(home=tmp_path)
        client = registry.client(settings)
        experiment = client.create_experiment(registry.DEMAND, artifact_location=settings.mlflow_artifact_root)
        folder = tmp_path / "run"
        registry.client(home).download_artifacts(trained.run_id, FILES, str(_made(folder)))
        record = {
            "model": DEMAND,
            "outcome": "pass",
            "reasons": ["better"],
            "files": about(folder / FILES),
            "champion": None,
        }
        verdict = sign(record, key=key or settings.verdict_key.get_secret_value())
        (folder / VERDICT).write_text(verdict.to_json())
        tags = verdict.tags()
        spoil(folder, tags)
        run = client.create_run(experiment, tags=tags).info.run_id
        client.log_artifacts(run, str(folder))
        client.create_model_version(DEMAND, "somewhere", run)
        registry.set_alias(settings, name=DEMAND, alias=CHALLENGER, version="1")
        return settings, registry.by_alias(settings, name=DEMAND, alias=CHALLENGER)

    return registered


def _made(folder):
    folder.mkdir()
    return folder


def _planted(folder, _tags):
    class Bomb:
        def __reduce__(self):
            return (open, (str(folder / "exploded"), "w"))

    (folder / FILES / "transactions.lgb").write_bytes(pickle.dumps(Bomb()))


def _reordered(folder, _tags):
    plan = json.loads((folder / FILES / "plan.json").read_text())
    plan["features"] = plan["features"][::-1]
    (folder / FILES / "plan.json").write_text(json.dumps(plan))


def _flipped(folder, _tags):
    head = folder / FILES / "units.lgb"
    content = bytearray(head.read_bytes())
    content[len(content) // 2] ^= 1
    head.write_bytes(bytes(content))


def _rewritten(folder, _tags):
    stored = json.loads((folder / VERDICT).read_text())
    stored["record"]["reasons"] = ["much better"]
    (folder / VERDICT).write_text(json.dumps(stored))


def test_eight_outlets_are_not_enough_evidence_and_register_nothing(home, trained):
    (evidence,) = (f for f in trained.verdict.findings if f.check == judge.EVIDENCE)
    assert evidence.outcome == "not enough evidence"
    assert "8 outlets held out; at least 6 and 20 are needed" in evidence.said
    assert not trained.verdict.is_pass
    assert trained.version is None
    assert registry.by_alias(home, name=DEMAND, alias=CHALLENGER) is None


def test_the_run_keeps_a_signed_verdict_and_the_card_even_when_nothing_was_registered(home, trained, tmp_path):
    client = registry.client(home)
    kept = {a.path for a in client.list_artifacts(trained.run_id)}
    assert {VERDICT, model_card.HTML, model_card.MARKDOWN, model_card.JSON} <= kept
    folder = Path(client.download_artifacts(trained.run_id, "", str(tmp_path)))
    signed = parse((folder / VERDICT).read_bytes(), key=home.verdict_key.get_secret_value())
    tags = client.get_run(trained.run_id).data.tags
    assert signed.tags().items() <= tags.items()
    assert signed.record["files"] == file_digests(folder / FILES)
    assert signed.record["data"] == trained.candidate.training_set.pins
    assert f"**Gate: {trained.verdict.outcome}.**" in tags["mlflow.note.content"]
    assert json.loads((folder / model_card.JSON).read_text())["verdict"]["signature"] == signed.signature


def test_areas_and_formats_of_the_lake_are_among_what_the_gate_compares(trained):
    cells = trained.candidate.evaluation.cells
    assert set(cells["outlet_area"]) == {"town", "not told"}
    assert set(cells["outlet_format"]) == {"kiosk", "not told"}


def test_a_champion_is_in_the_race_and_its_own_copy_gives_no_evidence(home, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "LEAST_OUTLETS", 5)
    files = Path(registry.client(home).download_artifacts(trained.run_id, FILES, str(tmp_path)))
    client = registry.client(home)
    client.create_registered_model(DEMAND)
    client.create_model_version(DEMAND, "somewhere", trained.run_id)
    registry.set_alias(home, name=DEMAND, alias=CHAMPION, version="1")
    judged = judge_candidate(home, trained.candidate, model=DEMAND, files=files)
    client.delete_registered_model_alias(DEMAND, CHAMPION)
    assert judged.signed.champion == "1"
    assert judged.signed.record["champion_run"] == trained.run_id
    assert judged.verdict.figures["deviance_vs_champion"] == 0.0
    assert {f.check for f in judged.verdict.findings} == set(judge.REQUIRED)
    assert not judged.verdict.is_pass


def test_features_recomputed_as_of_the_decision_are_those_of_the_training_set_and_a_leak_is_named(home, data, trained):
    model = trained.candidate.model
    week = data.frame[data.frame["week"] == 47]
    known = known_at(home, week["event_timestamp"].iloc[0])

    def predict(rows):
        return model.predict_heads(rows)["transactions"]

    features = tuple(model.plan["features"])
    clean = check_point_in_time(predict, week, known, features=features)
    assert (clean.outcome, clean.figures["leaking_features"]) == ("pass", 0.0)
    assert clean.figures["audited_features"] > 30
    leaky = week.assign(transactions_lag_1=week["transactions"])
    finding = check_point_in_time(predict, leaky, known, features=features)
    assert finding.outcome == "refuse"
    assert "1 of" in finding.said
    assert "most transactions_lag_1" in finding.said


def test_a_genuine_verdict_is_believed(version):
    settings, registered = version()
    assert verified_verdict(settings, registered).is_pass


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_flipped, "other files than it holds: units.lgb"),
        (_planted, "other files than it holds: transactions.lgb"),
        (_reordered, "other files than it holds: plan.json"),
        (_rewritten, "the signature does not match"),
        (lambda folder, _: (folder / VERDICT).unlink(), "has no signed verdict; run `poplift train`"),
        (lambda _, tags: tags.update(verdict_sha256="0" * 64), "its tags do not name its verdict.json"),
        (lambda _, tags: tags.update(gate="refuse"), "its tags do not name its verdict.json"),
    ],
    ids=[
        "flipped byte",
        "pickle",
        "reordered columns",
        "rewritten",
        "none",
        "other digest",
        "other word",
    ],
)
def test_a_version_that_is_not_what_was_judged_is_refused_for_what_differs(version, spoil, said):
    settings, registered = version(spoil)
    with pytest.raises(VerdictError, match=re.escape(said)):
        verified_verdict(settings, registered)
    assert not (settings.home / "run" / "exploded").exists()


def test_a_verdict_about_no_files_is_about_no_version(version):
    settings, registered = version(about=lambda _folder: {})
    with pytest.raises(VerdictError, match="names no model files"):
        verified_verdict(settings, registered)


def test_a_verdict_signed_by_somebody_else_is_refused(version):
    settings, registered = version(key="theirs")
    with pytest.raises(VerdictError, match="POPLIFT_VERDICT_KEY"):
        verified_verdict(settings, registered)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [(_reordered, "features are not those of plan.json"), (_planted, "not a saved demand model")],
    ids=["reordered columns", "pickle"],
)
def test_files_of_another_order_or_format_are_not_even_loaded(home, trained, tmp_path, spoil, said):
    registry.client(home).download_artifacts(trained.run_id, FILES, str(tmp_path))
    spoil(tmp_path, {})
    with pytest.raises(demand.ModelFilesError, match=said):
        demand.load(tmp_path / FILES)
    assert not (tmp_path / "exploded").exists()


def test_the_page_on_verdicts_checks_a_version_as_it_says(version, monkeypatch, capsys):
    settings, _ = version()
    monkeypatch.setenv("POPLIFT_HOME", str(settings.home))
    (code,) = re.findall(
        r"^```python test=read_a_verdict\n(.*?)^```$",
        (DOCS / "how-to/read-a-verdict.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    exec(compile(code, "read-a-verdict.md", "exec"), {})
    assert capsys.readouterr().out == "pass\n  better\n"
