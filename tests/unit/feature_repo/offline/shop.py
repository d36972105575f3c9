"""Three Feast views over Parquet files that a test writes anew: one key, two keys, none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import ParquetFormat
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

from feature_repo.offline.store import PointInTimeOfflineStore

# The hour in which Berlin sets its clocks back: 02:30 happens twice.
AUTUMN = datetime(2017, 10, 29, 0, 30, tzinfo=UTC)
STEP = timedelta(minutes=20)
VALUES = {"sales": "units", "pairs": "share", "calendar": "holiday"}
KEYS = {"sales": ("outlet_id",), "pairs": ("outlet_id", "ppg_id"), "calendar": ()}
TTL = {"sales": 3 * STEP, "pairs": None, "calendar": STEP}
REFERENCES = ["sales:units", "sales:name", "pairs:share", "calendar:holiday"]


@dataclass(frozen=True)
class Shop:
    """Three views over the Parquet files of `folder`, and the same views as Feast's own DuckDB store reads them."""

    store: FeatureStore
    feast: FeatureStore
    folder: Path

    def write(self, view: str, versions: Sequence["Version"], unit: pa.DataType) -> None:
        names = {"sales": "raw units", "pairs": "share", "calendar": "holiday"}
        columns: dict[str, pa.Array] = {
            "event_timestamp": instants([v.event for v in versions], unit),
            names[view]: pa.array([v.value for v in versions], "int64"),
        }
        if view != "pairs":
            columns["created_timestamp"] = instants([v.created for v in versions], unit)
        if view == "sales":
            columns["name"] = pa.array([None if v.value is None else f"v{v.value}" for v in versions], "string")
        for i, key in enumerate(KEYS[view]):
            columns[key] = pa.array([v.keys[i] for v in versions], "int64" if key == "ppg_id" else "string")
        pq.write_table(pa.table(columns), self.folder / f"{view}.parquet")

    def ask(self, entity_df: object, references: Any = REFERENCES, **options: Any) -> pa.Table:
        return self.store.get_historical_features(entity_df=entity_df, features=references, **options).to_arrow()


@dataclass(frozen=True)
class Version:
    keys: tuple[Any, ...]
    event: datetime | None
    created: datetime | None
    value: int | None


@dataclass(frozen=True)
class Asked:
    outlet_id: str | None
    ppg_id: int
    at: datetime

    def keys(self, view: str) -> tuple[Any, ...]:
        return tuple(getattr(self, key) for key in KEYS[view])


def instants(values: Sequence[datetime | None], unit: pa.DataType) -> pa.Array:
    return pa.array(values, pa.timestamp("us", "UTC")).cast(unit)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    outlet = Entity(name="outlet", join_keys=["outlet_id"], value_type=ValueType.STRING)
    ppg = Entity(name="ppg", join_keys=["ppg_id"], value_type=ValueType.INT64)

    def source(view: str, **options: Any) -> FileSource:
        return FileSource(
            name=f"{view}_table",
            path=str(folder / f"{view}.parquet"),
            file_format=ParquetFormat(),
            timestamp_field="event_timestamp",
            **options,
        )

    sales = FeatureView(
        name="sales",
        entities=[outlet],
        ttl=TTL["sales"],
        schema=[
            Field(name="outlet_id", dtype=String),
            Field(name="units", dtype=Int64),
            Field(name="name", dtype=String),
        ],
        source=source("sales", created_timestamp_column="created_timestamp", field_mapping={"raw units": "units"}),
    )
    pairs = FeatureView(
        name="pairs",
        entities=[outlet, ppg],
        ttl=timedelta(0),
        schema=[
            Field(name="outlet_id", dtype=String),
            Field(name="ppg_id", dtype=Int64),
            Field(name="share", dtype=Int64),
        ],
        source=source("pairs"),
    )
    calendar = FeatureView(
        name="calendar",
        entities=[],
        ttl=TTL["calendar"],
        schema=[Field(name="holiday", dtype=Int64)],
        source=source("calendar", created_timestamp_column="created_timestamp"),
    )

    @on_demand_feature_view(sources=[sales], schema=[Field(name="twice", dtype=Float64)])
    def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"twice": inputs["units"] * 2.0})

    def opened(offline_store: str) -> FeatureStore:
        config = RepoConfig(
            project="shop",
            provider="local",
            registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db"},
            offline_store={"type": offline_store},
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
        return FeatureStore(config=config)

    store = opened(f"{PointInTimeOfflineStore.__module__}.{PointInTimeOfflineStore.__name__}")
    shop = Shop(store, opened("duckdb"), folder)
    for view in VALUES:
        shop.write(view, [], pa.timestamp("us", "UTC"))
    service = FeatureService(name="everything", features=[sales[["units"]], pairs, calendar])
    store.apply([outlet, ppg, sales, pairs, calendar, doubled, service])
    yield shop
    store.registry.teardown()


def frame(rows: Sequence[Asked], zone: str | None) -> pd.DataFrame:
    at = pd.Series([r.at for r in rows], dtype="datetime64[ns, UTC]")
    return pd.DataFrame(
        {
            "outlet_id": pd.Series([r.outlet_id for r in rows], dtype=object),
            "ppg_id": pd.Series([r.ppg_id for r in rows], dtype="int32"),
            "event_timestamp": at.dt.tz_localize(None) if zone is None else at.dt.tz_convert(zone),
            "label": np.arange(len(rows)),
        }
    )


def one(shop: Shop, **changes: Any) -> pd.DataFrame:
    """One version per view an hour before one row asks."""
    keys = {"sales": ("a",), "pairs": ("a", 1), "calendar": ()}
    for view in VALUES:
        version = Version(keys[view], AUTUMN, AUTUMN, 5)
        shop.write(view, [replace(version, **changes)], pa.timestamp("us", "UTC"))
    return frame([Asked("a", 1, AUTUMN + STEP)], "UTC")
