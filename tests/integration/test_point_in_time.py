"""Training sets through Feast's own interface: against a Python loop, and against Feast's DuckDB store."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.offline.errors import PointInTimeError
from feature_repo.offline.store import PointInTimeOfflineStore

# Ibis, inside Feast's store, calls DuckDB by a deprecated name and leaves its temporary files to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")

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


def newest(view: str, versions: Sequence[Version], row: Asked, *, as_known: bool) -> set[int | None]:
    """The values a loop over all versions allows; several only where versions differ in nothing else."""
    ttl, has_created = TTL[view], view != "pairs"
    early = datetime.min.replace(tzinfo=UTC)
    seen = [
        (v.event, (v.created or early) if has_created else early, v.value)
        for v in versions
        if v.keys == row.keys(view) and None not in v.keys and v.event is not None and v.event <= row.at
        if ttl is None or v.event >= row.at - ttl
        if not (as_known and has_created) or (v.created is not None and v.created <= row.at)
    ]
    best = max((v[:2] for v in seen), default=None)
    return {v[2] for v in seen if v[:2] == best} or {None}


times = st.integers(-4, 8).map(lambda step: AUTUMN + step * STEP)
outlets = st.sampled_from(["a", "b", "Straße"]) | st.none()
ppgs = st.sampled_from([1, 2, 11])


@st.composite
def histories(draw: st.DrawFn) -> dict[str, list[Version]]:
    keys = {"sales": st.tuples(outlets), "pairs": st.tuples(outlets, ppgs), "calendar": st.just(())}
    return {
        view: draw(
            st.lists(
                st.builds(Version, k, times | st.none(), times | st.none(), st.none() | st.integers(0, 9)), max_size=12
            )
        )
        for view, k in keys.items()
    }


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


units = st.sampled_from([pa.timestamp("ns"), pa.timestamp("ns", "UTC"), pa.timestamp("us"), pa.timestamp("ms", "UTC")])
zones = st.sampled_from([None, "UTC", "Europe/Berlin", "America/New_York"])
rows_asked = st.lists(st.builds(Asked, outlets, ppgs, times), min_size=1, max_size=10)


@settings(max_examples=15, deadline=None)
@given(history=histories(), rows=rows_asked, unit=units, zone=zones, as_known=st.booleans(), full=st.booleans())
def test_every_row_gets_what_a_loop_over_all_versions_gives(shop, *, history, rows, unit, zone, as_known, full):
    for view, versions in history.items():
        shop.write(view, versions, unit)
    got = shop.ask(frame(rows, zone), full_feature_names=full, filter_by_created_timestamp=as_known)
    assert got["label"].to_pylist() == list(range(len(rows)))
    assert got["event_timestamp"].to_pylist() == [r.at for r in rows]
    for view, feature in VALUES.items():
        values = got[f"{view}__{feature}" if full else feature].to_pylist()
        for value, row in zip(values, rows, strict=True):
            assert value in newest(view, history[view], row, as_known=as_known)


@settings(max_examples=8, deadline=None)
@given(history=histories(), rows=rows_asked, zone=zones, as_known=st.booleans())
def test_where_nothing_is_tied_the_answer_is_that_of_feasts_own_store(shop, history, rows, zone, as_known):
    for view, versions in history.items():
        single = {(v.keys, v.event): v for v in versions}
        shop.write(view, list(single.values()), pa.timestamp("us", "UTC"))
    asked = frame(rows, zone)
    ours = shop.ask(asked, filter_by_created_timestamp=as_known)
    theirs = shop.feast.get_historical_features(
        entity_df=asked, features=REFERENCES, filter_by_created_timestamp=as_known
    ).to_arrow()
    assert ours.schema.equals(theirs.schema)
    assert ours.equals(theirs.sort_by("label"))


def one(shop: Shop, **changes: Any) -> pd.DataFrame:
    """One version per view an hour before one row asks."""
    keys = {"sales": ("a",), "pairs": ("a", 1), "calendar": ()}
    for view in VALUES:
        version = Version(keys[view], AUTUMN, AUTUMN, 5)
        shop.write(view, [replace(version, **changes)], pa.timestamp("us", "UTC"))
    return frame([Asked("a", 1, AUTUMN + STEP)], "UTC")


def test_rows_come_back_in_their_order_duplicates_and_unknown_outlets_included(shop):
    row = one(shop)
    asked = pd.concat([row, row.assign(outlet_id="nobody"), row, row], ignore_index=True)
    got = shop.ask(asked)
    assert got["units"].to_pylist() == [5, None, 5, 5]


def test_a_frame_of_no_rows_gives_an_answer_of_no_rows(shop):
    got = shop.ask(one(shop).iloc[:0])
    assert got.num_rows == 0
    assert set(VALUES.values()) <= set(got.column_names)
    plain = pd.DataFrame({"outlet_id": [], "ppg_id": [], "event_timestamp": []})
    assert shop.ask(plain).num_rows == 0


@pytest.mark.parametrize(
    "convert",
    [
        lambda f: f.astype({"outlet_id": "category", "ppg_id": "float64"}),
        lambda f: f.astype({"outlet_id": "string", "ppg_id": "Int16"}),
        lambda f: f.assign(event_timestamp=f.event_timestamp.dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")),
        lambda f: f.rename(columns={"event_timestamp": "asked_at"}),
        lambda f: f.set_index(pd.Index([17])),
        pa.Table.from_pandas,
        lambda f: pa.table(
            {"outlet_id": pa.array(["a"], "large_string"), "ppg_id": [1], "event_timestamp": [AUTUMN + STEP]}
        ),
    ],
    ids=["categories and floats", "nullable", "text", "another name", "index", "arrow", "large strings"],
)
def test_the_types_people_hold_their_rows_in_make_no_difference(shop, convert: Callable[[pd.DataFrame], object]):
    got = shop.ask(convert(one(shop)))
    assert [got[name].to_pylist() for name in VALUES.values()] == [[5], [5], [5]]


def test_dates_in_the_source_are_midnight_utc(shop):
    asked = one(shop)
    table = pa.table({"outlet_id": ["a"], "raw units": [3], "name": ["x"]})
    day = pa.array([datetime(2017, 10, 29, tzinfo=UTC).date()])
    columns = {"event_timestamp": day, "created_timestamp": day}
    for name, column in columns.items():
        table = table.append_column(name, column)
    pq.write_table(table, shop.folder / "sales.parquet")
    at = pd.to_datetime(["2017-10-29T00:00:00Z", "2017-10-28T23:59:59Z"])
    got = shop.ask(pd.concat([asked, asked]).assign(event_timestamp=at), ["sales:units"])
    assert got["units"].to_pylist() == [3, None]


def test_a_feature_service_and_an_on_demand_view_read_through_the_same_join(shop):
    asked = one(shop)
    assert shop.ask(asked, shop.store.get_feature_service("everything"))["share"].to_pylist() == [5]
    assert shop.ask(asked, ["sales:units", "doubled:twice"])["twice"].to_pylist() == [10.0]


def test_a_key_is_mapped_to_a_column_of_another_name(shop):
    asked = one(shop).rename(columns={"outlet_id": "origin"})
    view = shop.store.get_feature_view("sales").with_name("origin_sales").with_join_key_map({"outlet_id": "origin"})
    pairs = shop.store.get_feature_view("pairs").with_join_key_map({"outlet_id": "origin"})
    service = FeatureService(name="mapped", features=[view[["units"]], pairs])
    shop.store.apply([service])
    got = shop.ask(asked, service, full_feature_names=True)
    assert got["origin_sales__units"].to_pylist() == [5]
    assert got["pairs__share"].to_pylist() == [5]


def test_an_answer_can_be_kept_as_a_saved_dataset(shop, tmp_path):
    job = shop.store.get_historical_features(entity_df=one(shop), features=["sales:units", "doubled:twice"])
    job.persist(SavedDatasetFileStorage(path=str(tmp_path / "kept.parquet"), file_format=ParquetFormat()))
    assert pq.read_table(tmp_path / "kept.parquet")["twice"].to_pylist() == [10.0]
    assert (job.metadata.min_event_timestamp, job.metadata.keys) == (AUTUMN + STEP, ["outlet_id", "ppg_id", "label"])


REFUSED: Mapping[str, tuple[Callable[[pd.DataFrame], object], str]] = {
    "no time": (lambda f: f.drop(columns="event_timestamp"), "no column event_timestamp"),
    "no instant": (lambda f: f.assign(event_timestamp=pd.NaT), "1 of 1 rows have no event_timestamp"),
    "a number for a time": (lambda f: f.assign(event_timestamp=1.5), "event_timestamp is double, not a time"),
    "no time at all": (lambda f: f.assign(event_timestamp="soon"), "event_timestamp cannot be read as a time"),
    "no key": (lambda f: f.drop(columns="ppg_id"), "view pairs: entity_df has no column ppg_id"),
    "a text for a number": (lambda f: f.astype({"ppg_id": str}), "view pairs: key ppg_id is BIGINT .* is VARCHAR"),
    "a huge float": (lambda f: f.assign(ppg_id=2.0**60), "view pairs: key ppg_id is BIGINT .* is DOUBLE"),
    "two types in a column": (lambda f: pd.concat([f, f.assign(outlet_id=7)]), "values of several types"),
    "SQL": (lambda _: "SELECT 1", "entity_df is a str"),
}


@pytest.mark.parametrize(("spoil", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_rows_that_cannot_be_joined_are_refused_by_name(shop, spoil, message):
    with pytest.raises(PointInTimeError, match=message):
        shop.ask(spoil(one(shop)))


def test_a_range_of_dates_without_rows_is_refused(shop):
    with pytest.raises(PointInTimeError, match="hand over an entity_df"):
        shop.ask(None, start_date=AUTUMN, end_date=AUTUMN + STEP)


@pytest.mark.parametrize("column", ["outlet_id", "event_timestamp", "created_timestamp", "raw units"])
def test_a_source_that_lost_a_column_is_refused_by_name(shop, column):
    asked = one(shop)
    path = shop.folder / "sales.parquet"
    pq.write_table(pq.read_table(path).drop(column), path)
    with pytest.raises(PointInTimeError, match=f"view sales: .*sales.parquet has no column {column}"):
        shop.ask(asked)


def test_a_source_that_is_not_there_or_not_parquet_is_refused_by_name(shop):
    asked = one(shop)
    path = shop.folder / "sales.parquet"
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(PointInTimeError, match=r"view sales: .* cannot be read"):
        shop.ask(asked)
    path.unlink()
    with pytest.raises(PointInTimeError, match="view sales: no Parquet file at"):
        shop.ask(asked)


def test_a_time_that_is_a_text_in_the_source_is_refused_by_name(shop):
    asked = one(shop)
    path = shop.folder / "sales.parquet"
    table = pq.read_table(path)
    pq.write_table(
        table.set_column(table.column_names.index("event_timestamp"), "event_timestamp", pa.array(["x"])), path
    )
    with pytest.raises(PointInTimeError, match="view sales: column event_timestamp is VARCHAR, not a time"):
        shop.ask(asked)
