"""The same transformations on Spark: every view equals DuckDB's, row for row, to the ninth decimal."""

import dataclasses

import pandas as pd
import pytest

from feature_repo.build import sources
from feature_repo.catalog import VIEWS
from feature_repo.transformations.sources import Sources
from poplift.lake import Lake
from tests.parity.conftest import SPARK_WARNINGS

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


def in_order(table, view):
    frame = table.to_pandas()
    for name in ("event_timestamp", "created_timestamp"):
        frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[us, UTC]")
    return frame.sort_values(["event_timestamp", *view.entities], ignore_index=True)


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: v.name)
def test_a_view_built_by_spark_equals_the_one_built_by_duckdb(view, on_duckdb, on_spark):
    expected = in_order(view.build(on_duckdb), view)
    got = in_order(view.build(on_spark), view)
    assert len(expected) > 400
    pd.testing.assert_frame_equal(got[expected.columns], expected, check_dtype=False, rtol=TOLERANCE, atol=TOLERANCE)
    features = [f.name for f in view.features]
    assert set(got[features].dtypes.astype(str)) == {"float64"}
