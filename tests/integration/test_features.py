"""Lake to feature tables: a missing feed is refused, a rebuild changes nothing, the future changes nothing."""

from datetime import timedelta

import duckdb
import pandas as pd
import pytest

from feature_repo.build import EmptyWeekError, build, table_path
from feature_repo.catalog import VIEWS
from poplift.lake import Lake
from poplift.sources.complete_journey import CompleteJourney, week_opens
from poplift.sources.ingest import ingest


def test_a_week_without_a_single_line_is_refused_and_named(tmp_path, journey, small_home):
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, file in journey.files.items():
        where = "WHERE week <> 17" if name == "transactions" else ""
        duckdb.sql(f"COPY (FROM '{file}' {where}) TO '{folder}/{name}.parquet' (FORMAT parquet)")
    lake, as_of = Lake(tmp_path / "lake"), small_home.settings.business_time
    ingest(CompleteJourney(folder, shopper_key="k"), lake, as_of=as_of)
    with pytest.raises(EmptyWeekError, match="no line in week 17"):
        build(lake, features_dir=tmp_path / "features", as_of=as_of)


def test_building_again_from_the_same_lake_does_nothing(small_home):
    settings = small_home.settings
    again = build(Lake(settings.lake_dir), features_dir=settings.features_dir, as_of=settings.business_time)
    assert not again.is_new


def test_every_managed_cell_has_a_row_for_every_week_from_the_first_on(small_home):
    frame = pd.read_parquet(table_path(small_home.settings.features_dir, "outlet_ppg_sales"))
    per_week = frame.groupby("event_timestamp").size()
    assert len(per_week) == 53
    assert set(per_week) == {8 * 27}


def test_what_becomes_known_after_as_of_changes_no_feature_row(tmp_path, small_home):
    """The whole of the lake is the future of week 30: features as of then are those of a lake that ends there."""
    settings = small_home.settings
    as_of = week_opens(31) + timedelta(days=1)
    early = tmp_path / "early"
    build(Lake(settings.lake_dir), features_dir=early, as_of=as_of)
    for view in VIEWS:
        full = pd.read_parquet(table_path(settings.features_dir, view.name))
        known = full[full["created_timestamp"] <= as_of].reset_index(drop=True)
        pd.testing.assert_frame_equal(pd.read_parquet(table_path(early, view.name)), known, check_exact=True)
