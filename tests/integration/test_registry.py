"""MLflow behind its door: what is registered can be loaded, promoted and served, and every move is written down."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_repo.catalog import MODEL_FEATURES
from flows.steps import release as release_step
from flows.steps.ledger import verify_ledger
from flows.steps.promote import (
    NoChampionError,
    PromotionRefusedError,
    ledger,
    promote,
    promote_if_new,
    reconcile,
)
from flows.steps.release import refresh_release
from flows.steps.rollback import roll_back
from poplift import registry
from poplift.contracts.tables import CONTRACTS
from poplift.registry import CHALLENGER, CHAMPION, DEMAND, FILES, RegistryError
from poplift.settings import load_settings
from poplift.verdicts import DIGEST_TAG, SIGNATURE_TAG
from serving.current import load_current
from tests.registered_models import PASSED, register, training_rows

# MLflow says this of a class of its own when its pyfunc module is first imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")


@pytest.fixture(scope="module")
def rows():
    return training_rows()


@dataclass(frozen=True)
class Template:
    """A tracking database with two versions and no alias; registering takes seconds, so the tests copy it."""

    database: Path
    folders: tuple[Path, ...]
    boosters: tuple[Any, ...]


@pytest.fixture(scope="module")
def template(tmp_path_factory, rows):
    settings = load_settings(home=tmp_path_factory.mktemp("mlflow"))
    folders = tuple(tmp_path_factory.mktemp("run") for _ in range(2))
    boosters = [register(settings, folder, rows, seed=seed) for seed, folder in enumerate(folders)]
    return Template(settings.home / "mlflow.db", folders, tuple(boosters))


@pytest.fixture
def empty(tmp_path, small_home):
    """The small home's lake and no model."""
    (tmp_path / "lake").symlink_to(small_home.settings.lake_dir)
    return load_settings(home=tmp_path)


@pytest.fixture
def home(empty, template):
    """The small home's lake, and versions 1 and 2 that both passed the gate."""
    shutil.copy(template.database, empty.home / "mlflow.db")
    return empty


def point(settings, alias, version):
    registry.set_alias(settings, name=DEMAND, alias=alias, version=version)


def judged(settings, version, **tags):
    """Give a version the verdict of another gate."""
    mlflow_client = registry.client(settings)
    run = mlflow_client.get_model_version(DEMAND, version).run_id
    for key in (*PASSED, DIGEST_TAG, SIGNATURE_TAG):
        mlflow_client.delete_tag(run, key)
    for key, value in tags.items():
        mlflow_client.set_tag(run, key, value)


def moves(settings):
    return [(m.from_version, m.to_version, m.who, m.verdict) for m in ledger(settings).moves(model=DEMAND)]


def test_a_registered_version_loads_with_its_signature_where_unpickling_is_forbidden(home, rows, template, monkeypatch):
    import mlflow.lightgbm

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    point(home, CHAMPION, "2")
    loaded = mlflow.lightgbm.load_model(f"models:/{DEMAND}@{CHAMPION}")
    inputs = rows[list(MODEL_FEATURES)]
    np.testing.assert_array_equal(loaded.predict(inputs), template.boosters[1].predict(inputs))
    signature = mlflow.models.get_model_info(f"models:/{DEMAND}@{CHAMPION}").signature
    assert signature.inputs.input_names() == list(MODEL_FEATURES)
    assert signature.outputs.input_names() == ["transactions"]


def test_an_alias_leads_to_the_version_with_the_tags_and_metrics_of_its_run(home):
    point(home, CHALLENGER, "2")
    found = registry.by_alias(home, name=DEMAND, alias=CHALLENGER)
    assert found.version == "2"
    assert found.run_id == registry.client(home).get_model_version(DEMAND, "2").run_id
    assert found.metrics == {"poisson_deviance": 0.5, "bias": 0.01}
    assert PASSED.items() <= found.tags.items()


@pytest.mark.parametrize("where", ["empty", "home"])
def test_an_alias_or_model_that_does_not_exist_is_none_and_no_error(where, request):
    settings = request.getfixturevalue(where)
    assert registry.by_alias(settings, name=DEMAND, alias=CHAMPION) is None


def test_the_files_of_a_version_are_those_that_were_logged_and_gone_after_use(home, template):
    point(home, CHALLENGER, "1")
    logged = {p.name: p.read_bytes() for p in (template.folders[0] / FILES).iterdir()}
    with registry.model_files(home, registry.by_alias(home, name=DEMAND, alias=CHALLENGER)) as folder:
        assert logged == {name: (folder / name).read_bytes() for name in logged}
    assert len(logged) == 6
    assert not folder.exists()


def test_a_version_that_we_did_not_train_is_refused_with_what_to_do(home):
    mlflow_client = registry.client(home)
    foreign = mlflow_client.create_run(mlflow_client.get_experiment_by_name(registry.DEMAND).experiment_id)
    version = mlflow_client.create_model_version(DEMAND, "runs:/elsewhere", foreign.info.run_id)
    point(home, CHAMPION, version.version)
    with pytest.raises(RegistryError, match=f"version 3: its run {foreign.info.run_id} has no artifacts under model/"):
        refresh_release(home)


def test_there_is_nothing_to_promote_or_release_before_a_training(empty):
    with pytest.raises(RegistryError, match="no challenger: run `poplift train` first"):
        promote(empty, who="me", why="now")
    with pytest.raises(NoChampionError, match="no champion: run `poplift train`, or set the alias in the MLflow UI"):
        refresh_release(empty)


@pytest.mark.parametrize("tags", [{}, {"gate": "refuse", "gate_reasons": "worse than mean_13w"}])
def test_a_version_without_a_passing_verdict_is_not_promoted_and_the_reason_is_said(home, tags):
    judged(home, "2", **tags)
    point(home, CHALLENGER, "2")
    verdict, reasons = tags.get("gate", "none"), tags.get("gate_reasons", "no reasons")
    with pytest.raises(PromotionRefusedError, match=rf"version 2: .* '{verdict}', .*\({reasons}\); champion unchanged"):
        promote(home, who="me", why="now")
    assert registry.by_alias(home, name=DEMAND, alias=CHAMPION) is None
    assert moves(home) == []


def test_every_promotion_is_written_down_once_with_who_and_why(home):
    point(home, CHALLENGER, "1")
    for _ in range(2):
        assert promote(home, who="ana", why="the gate passed").version == "1"
    point(home, CHALLENGER, "2")
    promote(home, who="ben", why="newer weeks")
    assert moves(home) == [(None, "1", "ana", "pass"), ("1", "2", "ben", "pass")]
    assert [m.why for m in ledger(home).moves(model=DEMAND)] == ["the gate passed", "newer weeks"]
    assert reconcile(home).version == "2"
    assert len(moves(home)) == 2


def test_an_alias_moved_in_the_mlflow_ui_is_followed_and_written_down(home):
    """The UI calls the same client method; the release step sees what it left behind, whatever the gate said."""
    point(home, CHALLENGER, "1")
    promote(home, who="ana", why="the gate passed")
    first = refresh_release(home)
    judged(home, "2", gate="refuse")
    registry.client(home).set_registered_model_alias(DEMAND, CHAMPION, "2")
    second = refresh_release(home)
    assert second.id != first.id
    served = load_current(home.releases_dir).versions
    assert served["model_version"] == "2"
    assert served["contracts"] == {known.table: known.version for known in CONTRACTS}
    assert refresh_release(home).id == second.id
    assert moves(home) == [(None, "1", "ana", "pass"), ("1", "2", "mlflow", "refuse")]


def test_a_champion_put_back_is_the_release_it_was(home):
    ids = []
    for version in ("1", "2", "1"):
        registry.client(home).set_registered_model_alias(DEMAND, CHAMPION, version)
        ids.append(refresh_release(home).id)
        assert load_current(home.releases_dir).versions["model_version"] == version
    assert ids[0] == ids[2] != ids[1]
    assert [m[:3] for m in moves(home)] == [(None, "1", "mlflow"), ("1", "2", "mlflow"), ("2", "1", "mlflow")]


def test_a_rollback_takes_the_alias_along_so_that_the_next_release_step_keeps_it(home):
    for version in ("1", "2"):
        point(home, CHALLENGER, version)
        promote(home, who="ana", why="the gate passed")
        refresh_release(home)
    back = roll_back(home, who="ben", why="complaints")
    assert registry.by_alias(home, name=DEMAND, alias=CHAMPION).version == "1"
    assert refresh_release(home).id == back == load_current(home.releases_dir).id
    assert moves(home)[-1] == ("2", "1", "ben", "pass")
    assert len(moves(home)) == 3


def test_a_rollback_of_the_policy_alone_is_kept_by_the_release_step_until_somebody_wants_it_again(home, monkeypatch):
    point(home, CHALLENGER, "1")
    promote(home, who="ana", why="the gate passed")
    first = refresh_release(home)
    bolder = release_step.policy(home).model_copy(update={"minimum_gain": 0.05})
    monkeypatch.setattr(release_step, "policy", lambda _: bolder)
    second = refresh_release(home)
    assert second.id != first.id
    assert roll_back(home, who="ben", why="too bold") == first.id
    said = []
    assert refresh_release(home, said.append).id == first.id == load_current(home.releases_dir).id
    assert any(f"release {second.id} was taken back and stays away" in line for line in said)
    assert refresh_release(home, again=True).id == second.id == load_current(home.releases_dir).id
    assert len(moves(home)) == 1


def test_a_rollback_works_while_mlflow_is_down_and_the_alias_follows_once_it_is_back(home, free_port, monkeypatch):
    ids = []
    for version in ("1", "2"):
        point(home, CHALLENGER, version)
        promote(home, who="ana", why="the gate passed")
        ids.append(refresh_release(home).id)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = load_settings(home=home.home, mlflow_url=f"http://127.0.0.1:{free_port}")
    said = []
    assert roll_back(down, who="ben", why="complaints", progress=said.append) == ids[0]
    assert load_current(home.releases_dir).versions["model_version"] == "1"
    assert "the next release step moves the alias" in said[-1]
    assert verify_ledger(down).not_asked is not None
    assert moves(home)[-1] == ("1", "2", "ana", "pass")
    assert refresh_release(home).id == ids[0]
    assert registry.by_alias(home, name=DEMAND, alias=CHAMPION).version == "1"
    assert moves(home)[-1] == ("2", "1", "ben", "pass")


def test_what_was_rolled_back_is_not_promoted_again_by_the_next_week(home):
    promote(home, who="ana", why="first", version="1", override="drill")
    promote(home, who="ana", why="second", version="2", override="drill")
    point(home, CHALLENGER, "2")
    promote(home, who="ana", why="taken back", version="1", override="drill")
    assert promote_if_new(home, who="weekly flow", why="the gate passed") is None
    assert registry.by_alias(home, name=DEMAND, alias=CHAMPION).version == "1"


def test_a_challenger_that_was_never_champion_is_promoted_unless_monitoring_holds(home):
    point(home, CHALLENGER, "2")
    home.reports_dir.mkdir(parents=True, exist_ok=True)
    page = home.reports_dir / "monitoring.json"
    page.write_text('{"holds_promotion": true}')
    assert promote_if_new(home, who="weekly flow", why="the gate passed") is None
    page.write_text('{"holds_promotion": false}')
    assert promote_if_new(home, who="weekly flow", why="the gate passed").version == "2"
