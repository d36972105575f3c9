"""Features computed by Spark: every view equals DuckDB's, row for row, to the ninth decimal, late events included."""

import dataclasses

import pandas as pd
import pytest

from feature_repo.build import grow_tables, sources, table_path
from feature_repo.catalog import VIEWS
from feature_repo.transformations.sources import Sources
from poplift.contracts.tables import contract
from poplift.lake import Lake
from poplift.spark import spark_conf
from tests.parity.conftest import SPARK_WARNINGS
from tests.unit.feature_repo.late_chain import WEEKS, chain, disturbed, landed, write

pytestmark = [pytest.mark.slow, *SPARK_WARNINGS]

TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def on_duckdb(small_home):
    """The sources of the small home, where the product reads them."""
    settings = small_home.settings
    return sources(Lake(settings.lake_dir), as_of=settings.business_time)


@pytest.fixture(scope="module")
def on_spark(spark, on_duckdb, tmp_path_factory):
    """The same rows as Spark tables, by way of Parquet."""
    import ibis

    folder = tmp_path_factory.mktemp("sources")
    backend = ibis.pyspark.connect(spark)
    tables = {}
    for field in dataclasses.fields(Sources):
        path = folder / f"{field.name}.parquet"
        getattr(on_duckdb, field.name).to_parquet(path)
        tables[field.name] = backend.read_parquet(str(path), table_name=f"source_{field.name}")
    return Sources(**tables)


def in_utc(table, order):
    """Rows in order, instants alike: Spark hands them to pandas without their zone."""
    frame = table.to_pandas()
    for name, kind in table.schema().items():
        if kind.is_timestamp():
            frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[us, UTC]")
    return frame.sort_values(order, ignore_index=True)


def in_order(table, view):
    return in_utc(table, ["event_timestamp", *view.entities])


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: v.name)
def test_a_view_built_by_spark_equals_the_one_built_by_duckdb(view, on_duckdb, on_spark):
    expected = in_order(view.build(on_duckdb), view)
    got = in_order(view.build(on_spark), view)
    assert len(expected) > 400
    pd.testing.assert_frame_equal(got[expected.columns], expected, check_dtype=False, rtol=TOLERANCE, atol=TOLERANCE)
    features = [f.name for f in view.features]
    assert set(got[features].dtypes.astype(str)) == {"float64"}


@pytest.fixture(scope="module")
def late_lake(tmp_path_factory):
    """A lake in two parts a table, with late and corrected rows in both."""
    lake = Lake(tmp_path_factory.mktemp("late") / "lake")
    tables = disturbed(chain(), seed=1)
    write(lake, tables, until=landed(3))
    write(lake, tables, after=landed(3))
    return lake


@pytest.fixture(scope="module")
def compute(spark, spark_settings):
    from feature_repo.spark_build import SparkCompute

    return SparkCompute(spark_conf(spark_settings), scratch=spark_settings.home / "rows")


def test_spark_reads_the_version_of_every_row_that_was_known_then(late_lake, compute):
    for instant in (landed(3), landed(WEEKS)):
        expected, got = sources(late_lake, as_of=instant), compute.sources(late_lake, as_of=instant)
        for table in ("pos_lines", "promotions", "price_calendar", "products"):
            order = list(contract(table).key)
            one, other = (in_utc(getattr(tables, table), order) for tables in (expected, got))
            assert len(one) > 3
            pd.testing.assert_frame_equal(other[one.columns], one, check_dtype=False)


def test_spark_leaves_the_row_versions_that_duckdb_leaves(late_lake, compute, tmp_path):
    (view,) = (v for v in VIEWS if v.name == "outlet_ppg_sales")
    tables = []
    for folder, engine in ((tmp_path / "duckdb", None), (tmp_path / "spark", compute)):
        folder.mkdir()
        grow_tables(late_lake, [view], features_dir=folder, as_of=landed(3), progress=lambda _: None, compute=engine)
        frame = pd.read_parquet(table_path(folder, view.name))
        tables.append(frame.sort_values([*view.entities, "event_timestamp", "created_timestamp"], ignore_index=True))
    expected, got = tables
    pd.testing.assert_frame_equal(got, expected, rtol=TOLERANCE, atol=TOLERANCE)
    assert expected.duplicated([*view.entities, "event_timestamp"]).any()
