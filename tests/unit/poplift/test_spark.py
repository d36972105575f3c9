"""What a Spark session is configured with, and what is refused before one is started."""

import sys

import pytest

from poplift.settings import SettingsError, load_settings
from poplift.spark import SEMANTICS, SparkMissingError, is_local, require_spark, spark_conf


def test_values_are_decided_by_us_on_every_cluster(tmp_path):
    cluster = load_settings(
        home=tmp_path, offline_engine="spark", spark_master="spark://host:7077", redis_url="host:6379"
    )
    for settings in (load_settings(home=tmp_path, offline_engine="spark"), cluster):
        conf = spark_conf(settings)
        assert conf["spark.master"] == settings.spark_master
        assert conf.items() >= SEMANTICS.items()
        assert conf["spark.sql.session.timeZone"] == "UTC"


def test_folders_and_addresses_of_this_machine_are_not_told_to_a_cluster(tmp_path):
    local = spark_conf(load_settings(home=tmp_path, offline_engine="spark"))
    cluster = spark_conf(
        load_settings(home=tmp_path, offline_engine="spark", spark_master="yarn", redis_url="host:6379")
    )
    assert str(tmp_path) in local["spark.local.dir"]
    assert not [name for name, value in cluster.items() if str(tmp_path) in value or "127.0.0.1" in value]


@pytest.mark.parametrize(
    ("master", "answer"), [("local", True), ("local[2]", True), ("yarn", False), ("spark://localhost:7077", False)]
)
def test_a_master_inside_this_machine_is_told_from_a_cluster(master, answer):
    assert is_local(master) is answer


def test_a_cluster_without_an_online_store_it_can_reach_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="POPLIFT_SPARK_MASTER=yarn needs POPLIFT_REDIS_URL"):
        load_settings(home=tmp_path, offline_engine="spark", spark_master="yarn")
    load_settings(home=tmp_path, spark_master="yarn")


def test_without_pyspark_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(SparkMissingError, match=r"make \.venv/\.spark"):
        require_spark()
