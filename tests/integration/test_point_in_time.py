"""Training sets through Feast's own interface: against a Python loop, and against Feast's DuckDB store."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService
from feast.data_format import ParquetFormat
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.feature_repo.offline.shop import AUTUMN, REFERENCES, STEP, TTL, VALUES, Asked, Version, frame, one, shop

__all__ = ["shop"]

# Ibis, inside Feast's store, calls DuckDB by a deprecated name and leaves its temporary files to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")


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
