"""Batch views, one per entry of the catalog, and where their tables lie."""

from pathlib import Path

from feast import FeatureView, Field, FileSource
from feast.data_format import ParquetFormat
from feast.types import Float64, String

from feature_repo.build import table_path
from feature_repo.catalog import View

from .entities import entities


def source(view: View, features_dir: Path) -> FileSource:
    """The Parquet table of a view, by absolute path: Feast resolves relative ones differently in three places."""
    return FileSource(
        name=f"{view.name}_table",
        path=str(table_path(features_dir, view.name)),
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        description=f"Written by `poplift features`. {view.description}",
        owner=view.owner,
    )


def batch_view(view: View, features_dir: Path) -> FeatureView:
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
        source=source(view, features_dir),
        online=True,
        description=view.description,
        owner=view.owner,
        tags={"soft_age_days": str(view.soft_age.days), "hard_age_days": str(view.ttl.days)},
    )
