"""Newest event times as the feature tables and the online store have them."""

from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pytest

from monitoring.newest_events import newest_offline, newest_online

MONDAY = datetime(2018, 1, 1, 5, tzinfo=UTC)
WEEK = timedelta(days=7)


def write(folder, events, known=timedelta(days=1)):
    folder.mkdir(parents=True, exist_ok=True)
    stamps = pd.Series(pd.to_datetime(events, utc=True)).astype("datetime64[us, UTC]")
    table = pd.DataFrame({"event_timestamp": stamps, "created_timestamp": stamps + known})
    table.to_parquet(folder / f"part-{len(list(folder.iterdir()))}.parquet")


def test_the_newest_event_over_all_files_of_a_view_is_found(tmp_path):
    write(tmp_path / "outlet_trend", [MONDAY - 2 * WEEK, MONDAY])
    write(tmp_path / "outlet_trend", [MONDAY - WEEK])
    write(tmp_path / "outlet_trend" / "more", [MONDAY - 3 * WEEK])
    newest = newest_offline(tmp_path, views=["outlet_trend", "ppg_trend"], as_of=MONDAY + WEEK)
    assert newest == {"outlet_trend": MONDAY, "ppg_trend": None}


def test_a_row_that_became_known_after_as_of_does_not_count(tmp_path):
    write(tmp_path / "outlet_trend", [MONDAY - WEEK, MONDAY])
    known = {at: newest_offline(tmp_path, views=["outlet_trend"], as_of=at) for at in (MONDAY, MONDAY - WEEK)}
    assert known == {MONDAY: {"outlet_trend": MONDAY - WEEK}, MONDAY - WEEK: {"outlet_trend": None}}


def test_a_half_written_file_is_an_error_and_not_an_empty_view(tmp_path):
    (tmp_path / "outlet_trend").mkdir()
    (tmp_path / "outlet_trend" / "part-0.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(duckdb.Error):
        newest_offline(tmp_path, views=["outlet_trend"], as_of=MONDAY)


def test_missing_values_of_the_online_store_are_not_mistaken_for_1970():
    stamps = np.array(["2018-01-01T05:00", "NaT", "1970-01-01", "2017-12-25T05:00"], dtype="datetime64[us]")
    answer = {"outlet_trend": stamps, "ppg_trend": stamps[1:3]}
    assert newest_online(answer) == {"outlet_trend": MONDAY, "ppg_trend": None}
