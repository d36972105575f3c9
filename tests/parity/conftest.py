"""The homes of the integration tests, for the tests that compare two ways to the same numbers."""

import pytest

from poplift.settings import load_settings
from tests.integration.conftest import either_home, journey, redis_home, shared, small_home
from tests.parity.online_pair import own, pair, stores

__all__ = ["SPARK_WARNINGS", "either_home", "journey", "own", "pair", "redis_home", "shared", "small_home", "stores"]

SPARK_WARNINGS = (
    # Spark and Py4J leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # Ibis 12 and PySpark 4.3 call what the other and pandas deprecate.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
    # Feast says so at every use of its Spark store.
    pytest.mark.filterwarnings("ignore:The spark .* is an experimental feature:RuntimeWarning"),
)


@pytest.fixture(scope="module")
def spark_settings(tmp_path_factory, small_home):
    """The features of the small home in a home whose engine is Spark on two threads of this machine."""
    pytest.importorskip("pyspark", reason="Spark is not installed: make test-slow installs it")
    settings = load_settings(home=tmp_path_factory.mktemp("spark"), database_prefix="small", offline_engine="spark")
    settings.features_dir.symlink_to(small_home.settings.features_dir)
    return settings


@pytest.fixture(scope="module")
def spark(spark_settings):
    """The session of these settings, for all tests of one module."""
    from poplift.spark import spark_conf, spark_session

    session = spark_session(spark_conf(spark_settings))
    yield session
    session.stop()
