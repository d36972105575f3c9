"""An artifact store that fails in the middle of an upload leaves no model version without its files."""

import pytest

from poplift import registry
from poplift.artifact_store import ArtifactStoreError
from poplift.registry import DEMAND
from poplift.settings import load_settings
from poplift.verdicts import file_digests
from tests.fault.artifact_store import HANGS, REFUSES, artifact_store
from tests.registered_models import register, training_rows

pytestmark = [
    pytest.mark.slow,
    # mlflow.pyfunc warns about its own type hints when it is imported
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    (tmp_path / "store").mkdir()
    with artifact_store(tmp_path / "store") as running:
        yield running


@pytest.fixture
def settings(tmp_path, store):
    return load_settings(home=tmp_path / "home", artifact_url=store.url)


def versions(settings):
    return registry.client(settings).search_model_versions(f"name='{DEMAND}'")


def runs(settings):
    client = registry.client(settings)
    experiment = client.get_experiment_by_name(registry.DEMAND)
    return [run.info.status for run in client.search_runs([experiment.experiment_id])]


def attempt(settings, folder, name):
    (folder / name).mkdir()
    return register(settings, folder / name, training_rows(), seed=1)


def test_wherever_an_upload_fails_no_version_is_made_and_the_next_attempt_makes_a_whole_one(settings, store, tmp_path):
    attempt(load_settings(home=tmp_path / "other", artifact_url=store.url), tmp_path, "undisturbed")
    of_a_whole_one = store.uploads
    assert of_a_whole_one >= 8
    for how, at in ((REFUSES, 1), (REFUSES, of_a_whole_one // 2), (REFUSES, of_a_whole_one), (HANGS, 3)):
        before = len(store.files())
        store.fail(how, at=at)
        with pytest.raises(ArtifactStoreError, match="no version was registered") as told:
            attempt(settings, tmp_path, f"{how} {at}")
        assert store.url in str(told.value)
        assert "again when the store answers" in str(told.value)
        assert len(store.files()) == before + at - 1  # it failed where it was meant to
        assert versions(settings) == []
    assert set(runs(settings)) == {"FAILED"}
    store.mend()
    attempt(settings, tmp_path, "mended")
    (made,) = versions(settings)
    version = registry.by_number(settings, name=DEMAND, version=made.version)
    with registry.model_files(settings, version) as files:
        arrived = file_digests(files)
    assert "MLmodel" in arrived
    assert file_digests(tmp_path / "mended" / registry.FILES).items() <= arrived.items()
