"""Batch views, one per entry of the catalog, and where their tables lie."""

from typing import Any

from feast import FeatureView, Field, FileSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.types import Float64, String

from feature_repo.build import table_path
from feature_repo.catalog import View
from poplift.settings import Settings

from .entities import entities


def source(view: View, settings: Settings) -> DataSource:
    """The Parquet table of a view, by absolute path: Feast resolves relative ones differently in three places.

    The one place that depends on the engine: Feast's Spark store takes nothing but a SparkSource.
    """
    common: dict[str, Any] = {
        # Feast's registry cannot put a source of one kind in the place of one of another kind.
        "name": f"{view.name}_{'spark_' if settings.offline_engine == 'spark' else ''}table",
        "path": str(table_path(settings.features_dir, view.name)),
        "timestamp_field": "event_timestamp",
        "created_timestamp_column": "created_timestamp",
        "description": f"Written by `poplift features`. {view.description}",
        "owner": view.owner,
    }
    if settings.offline_engine == "spark":
        return SparkSource(file_format="parquet", **common)
    return FileSource(file_format=ParquetFormat(), **common)


def batch_view(view: View, settings: Settings) -> FeatureView:
    """The Feast view of a catalog entry; every feature is a Float64 with its description and unit."""
    by_key = entities()
    return FeatureView(
        name=view.name,
        entities=[by_key[key] for key in view.entities],
        ttl=view.ttl,
        schema=[
            *(Field(name=key, dtype=String) for key in view.entities),
            *(
                Field(name=f.name, dtype=Float64, description=f.description, tags={"unit": f.unit})
                for f in view.features
            ),
        ],
        source=source(view, settings),
        online=True,
        description=view.description,
        owner=view.owner,
        tags={"soft_age_days": str(view.soft_age.days), "hard_age_days": str(view.ttl.days)},
    )
