"""Rows through poplift's own door, and online features in Postgres where the settings say so."""

import gc

import numpy as np
import pandas as pd
import pytest

from feature_repo.build import table_path
from feature_repo.catalog import DEMAND_SERVING
from poplift import feature_store
from poplift.databases import ensure_databases
from poplift.settings import load_settings

KEYS = ["outlet_id", "ppg_id"]


@pytest.mark.services
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # Feast leaves its registry's connections open
def test_postgres_serves_the_same_features_and_reports_what_became_of_rows(
    tmp_path, small_home, postgres_url, database_prefix
):
    from feature_repo.definitions.repository import objects

    settings = load_settings(
        home=tmp_path / "var", online_store="postgres", postgres_url=postgres_url, database_prefix=database_prefix
    )
    ensure_databases(settings)
    settings.features_dir.symlink_to(small_home.settings.features_dir)
    feature_store.apply(settings, objects(settings))
    feature_store.materialize(settings)

    newest = pd.read_parquet(table_path(settings.features_dir, "outlet_ppg_sales"))
    newest = newest.sort_values("event_timestamp").groupby(KEYS, as_index=False).tail(1)
    entities = newest[KEYS].to_dict("records")
    here = feature_store.online_features(settings, service=DEMAND_SERVING, entities=entities)
    there = feature_store.online_features(small_home.settings, service=DEMAND_SERVING, entities=entities)
    frames = [pd.DataFrame(dict(found.values)) for found in (here, there)]  # not frames yet
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    for view, times in there.event_timestamps.items():
        np.testing.assert_array_equal(here.event_timestamps[view], times)

    writer = feature_store.OnlineWriter(settings, view="outlet_ppg_sales")
    late = newest.head(3).assign(event_timestamp=newest["event_timestamp"] - pd.Timedelta(days=1))
    future = newest.tail(2).assign(event_timestamp=pd.Timestamp(settings.business_time) + pd.Timedelta(hours=1))
    report = writer.write(pd.concat([late, future]))
    assert (report.written, report.older, dict(report.refused)) == (0, 3, {"future": 2})
    del writer
    gc.collect()  # here, where the warning about Feast's connections is expected, and not in the next test


def test_a_view_that_is_not_registered_is_named_with_what_to_do(small_home):
    with pytest.raises(feature_store.FeatureStoreError, match="no_such_view is not in the registry: run `poplift"):
        feature_store.write_online(small_home.settings, view="no_such_view", frame=pd.DataFrame())
