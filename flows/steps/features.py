"""Step: build the feature tables, register them with Feast, and bring the online store up to business time."""

from typing import TYPE_CHECKING

from flows.steps.progress import Progress, silent
from poplift import feature_store
from poplift.databases import ensure_databases
from poplift.lake import Lake
from poplift.settings import Settings
from poplift.spark import spark_conf

if TYPE_CHECKING:
    from feature_repo.build import Compute


def initialise(settings: Settings) -> None:
    """Make databases and render feature_store.yaml, so that the `feast` CLI works from any folder."""
    ensure_databases(settings)
    feature_store.render(settings)


def refresh_features(settings: Settings, progress: Progress = silent) -> dict[str, int]:
    """Build, apply and materialise; returns the rows of every feature table.

    Definitions that would break a registered service are refused before a table is touched: BreakingChangeError.
    """
    from feature_repo import running
    from feature_repo.build import build
    from feature_repo.definitions.repository import objects

    initialise(settings)
    defined = objects(settings)
    feature_store.refuse_breaking_changes(settings, defined)
    lake = Lake(settings.lake_dir, threads=settings.threads)
    as_of = settings.now()
    built = build(lake, features_dir=settings.features_dir, as_of=as_of, progress=progress, compute=_compute(settings))
    progress(running.VIEW.name)
    of_open_week = running.write_table(lake, features_dir=settings.features_dir, as_of=as_of)
    progress("feast apply")
    feature_store.apply(settings, defined)
    progress("feast materialize")
    feature_store.materialize(settings)
    return {**built.rows, running.VIEW.name: of_open_week}


def _compute(settings: Settings) -> "Compute | None":
    if settings.offline_engine == "duckdb":
        return None
    from feature_repo.spark_build import SparkCompute

    return SparkCompute(spark_conf(settings), scratch=settings.home / "spark" / "rows")
