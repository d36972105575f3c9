"""The door to Spark: how a session of ours is configured, and the one place that starts it."""

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from poplift.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What decides values, whoever started the session: instants are UTC, and a number that cannot be is null as in DuckDB.
# The last one Feast turns on; with it Ibis's quoted column names are read as patterns.
SEMANTICS: Mapping[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parser.quotedRegexColumnNames": "false",
}


class SparkMissingError(Exception):
    """Spark is asked for and not installed; the message says how to install it."""


def spark_conf(settings: Settings) -> dict[str, str]:
    """Configuration of a session; what it does not name comes from the cluster's own spark-defaults.conf."""
    conf = {
        "spark.master": settings.spark_master,
        "spark.app.name": settings.database_prefix,
        "spark.ui.showConsoleProgress": "false",
        **SEMANTICS,
    }
    if is_local(settings.spark_master):
        folder = settings.home / "spark"
        conf |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.memory": "2g",
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": str(2 * settings.threads),
            "spark.local.dir": str(folder / "local"),
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
        }
    return conf


def is_local(master: str) -> bool:
    """Whether Spark runs inside this machine."""
    return master.partition("[")[0] == "local"


def require_spark() -> None:
    """Raise SparkMissingError when PySpark is not installed."""
    if find_spec("pyspark") is None:
        raise SparkMissingError(
            "POPLIFT_OFFLINE_ENGINE=spark needs PySpark and Java 17 or newer: run `make .venv/.spark`, "
            "or unset the variable to use DuckDB"
        )


def spark_session(conf: Mapping[str, str]) -> "SparkSession":
    """The session of this process, started with `conf` when there is none, held to SEMANTICS in any case."""
    require_spark()
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.config(conf=SparkConf().setAll(list(conf.items())))
    session = SparkSession.getActiveSession() or builder.getOrCreate()
    for name, value in SEMANTICS.items():
        session.conf.set(name, value)
    if is_local(session.sparkContext.master):
        # PySpark would start whatever python3 is first on the path, without Feast and without this package.
        session.sparkContext.pythonExec = sys.executable
    return session
