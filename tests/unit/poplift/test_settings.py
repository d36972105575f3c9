"""Settings: one reader, wrong values named by their variable, production never on defaults that are public."""

from datetime import UTC, datetime

import pytest

from poplift.clock import wall_now
from poplift.feature_store import configuration
from poplift.settings import SettingsError, child_environment, load_settings


def test_without_anything_set_the_profile_is_local_and_on_sqlite(tmp_path):
    settings = load_settings(home=tmp_path)
    assert settings.profile == "local"
    assert settings.database_url("registry") == f"sqlite:///{tmp_path}/registry.db"


def test_the_environment_wins_over_the_profile(monkeypatch):
    monkeypatch.setenv("POPLIFT_API_PORT", "9000")
    monkeypatch.setenv("POPLIFT_BUSINESS_TIME", "2017-12-01T00:00:00Z")
    settings = load_settings()
    assert settings.api_port == 9000
    assert settings.business_time == datetime(2017, 12, 1, tzinfo=UTC)


def test_a_wrong_value_is_refused_with_the_name_of_its_variable(monkeypatch):
    monkeypatch.setenv("POPLIFT_THREADS", "many")
    with pytest.raises(SettingsError, match="POPLIFT_THREADS"):
        load_settings()


def test_an_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match="choose one of: local, production"):
        load_settings(profile="staging")


def test_production_without_servers_is_refused():
    with pytest.raises(SettingsError, match="POPLIFT_POSTGRES_URL, POPLIFT_REDIS_URL"):
        load_settings(profile="production")


def test_production_refuses_the_public_shopper_key():
    with pytest.raises(SettingsError, match="POPLIFT_SHOPPER_KEY"):
        load_settings(profile="production", postgres_url="postgresql+psycopg://h", redis_url="h:6379")


def test_production_refuses_the_public_key_of_the_verdicts():
    with pytest.raises(SettingsError, match="POPLIFT_VERDICT_KEY"):
        load_settings(profile="production", postgres_url="postgresql+psycopg://h", redis_url="h:6379", shopper_key="k")


@pytest.mark.parametrize(
    "prefix", ["", "Shop", "1shop", "shop-a", "shop*", "shop[a-z]", 'shop"; DROP', "../shop", "shop\n", "ß", "s" * 42]
)
def test_a_prefix_that_could_be_more_than_a_name_is_refused(tmp_path, prefix):
    with pytest.raises(SettingsError, match="POPLIFT_DATABASE_PREFIX"):
        load_settings(home=tmp_path, database_prefix=prefix)


def test_a_naive_business_time_is_refused(monkeypatch):
    monkeypatch.setenv("POPLIFT_BUSINESS_TIME", "2017-12-01T00:00:00")
    with pytest.raises(SettingsError, match="POPLIFT_BUSINESS_TIME"):
        load_settings()


def test_secrets_do_not_show_when_settings_are_printed(tmp_path):
    assert "hidden-key" not in repr(load_settings(home=tmp_path, shopper_key="hidden-key", verdict_key="hidden-key"))


def test_an_unknown_variable_is_refused_with_the_nearest_known_one(monkeypatch):
    monkeypatch.setenv("POPLIFT_HOEM", "x")
    with pytest.raises(SettingsError, match="POPLIFT_HOEM is not a setting; did you mean POPLIFT_HOME"):
        load_settings()


def test_a_relative_home_is_the_same_folder_from_everywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POPLIFT_HOME", "state")
    settings = load_settings()
    assert settings.home == tmp_path / "state"
    assert settings.mlflow_artifact_root.startswith(f"file://{tmp_path}")


def test_a_child_process_gets_every_setting_that_was_given(tmp_path):
    settings = load_settings(home=tmp_path, seed=11, shopper_key="key")
    environment = child_environment(settings, EXTRA="1")
    assert environment["POPLIFT_HOME"] == str(tmp_path)
    assert (environment["POPLIFT_SEED"], environment["POPLIFT_SHOPPER_KEY"], environment["EXTRA"]) == ("11", "key", "1")


def test_business_time_stands_still_unless_it_is_told_to_run(tmp_path):
    still = load_settings(home=tmp_path)
    running = load_settings(home=tmp_path, business_clock="wall")
    assert still.now() == still.business_time
    before = wall_now()
    assert before <= running.now() <= wall_now()


def test_feast_is_told_that_business_time_runs(tmp_path):
    for clock, said in (("still", "2018-01-02T05:00:00+00:00"), ("wall", "now")):
        known = configuration(load_settings(home=tmp_path, business_clock=clock))
        assert known["online_store"]["business_time"] == known["batch_engine"]["business_time"] == said


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_an_online_store_without_its_server_is_refused(tmp_path, kind):
    with pytest.raises(SettingsError, match=f"POPLIFT_ONLINE_STORE={kind} needs POPLIFT_{kind.upper()}_URL"):
        load_settings(home=tmp_path, online_store=kind)


def test_the_online_store_is_redis_where_there_is_one_unless_another_is_asked_for(tmp_path):
    assert load_settings(home=tmp_path).online_store_kind == "sqlite"
    assert load_settings(home=tmp_path, redis_url="h:1").online_store_kind == "redis"
    assert load_settings(home=tmp_path, redis_url="h:1", online_store="sqlite").online_store_kind == "sqlite"


def test_a_redis_address_with_a_scheme_is_refused_with_an_example(tmp_path):
    with pytest.raises(SettingsError, match="POPLIFT_REDIS_URL is host:port, such as"):
        load_settings(home=tmp_path, redis_url="redis://127.0.0.1:6379/0")
