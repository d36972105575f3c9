"""A backfill makes what a build makes, goes on after a kill, and shows readers the old table until it is done."""

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from feature_repo.backfill import BackfillError, backfill
from feature_repo.build import EmptyWeekError, grow_tables, table_path
from feature_repo.catalog import VIEWS
from poplift.lake import Lake
from tests.unit.feature_repo.late_chain import WEEKS, chain, disturbed, landed, write

ROOT = Path(__file__).resolve().parents[3]
TODAY = landed(WEEKS) + timedelta(days=2)
VIEW = next(v for v in VIEWS if v.name == "ppg_trend")
KEYS = [*VIEW.entities, "event_timestamp", "created_timestamp"]
# Kills itself before the partition of that number begins.
DIES = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from feature_repo.backfill import backfill
from poplift.lake import Lake
told = []
def progress(what):
    told.append(what)
    if len(told) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
backfill(Lake(Path(sys.argv[1])), view="ppg_trend", weeks=(2, 6), features_dir=Path(sys.argv[2]),
         as_of=datetime.fromisoformat(sys.argv[4]), progress=progress)
"""


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def fill(lake, folder, weeks=(1, WEEKS), **options):
    return backfill(lake, view=VIEW.name, weeks=weeks, features_dir=folder, as_of=TODAY, **options)


def built(lake, folder):
    folder.mkdir(exist_ok=True)
    grow_tables(lake, [VIEW], features_dir=folder, as_of=TODAY, progress=lambda _: None)


def rows(folder):
    return pd.read_parquet(table_path(folder, VIEW.name)).sort_values(KEYS, ignore_index=True)


@pytest.mark.parametrize("weeks", [(1, WEEKS), (3, 4)])
def test_every_week_recomputed_as_of_then_gives_the_versions_of_a_build(tmp_path, lake, weeks):
    """The build takes short cuts where nothing came late; the backfill takes none."""
    write(lake, disturbed(chain(6), 6))
    built(lake, tmp_path / "built")
    fill(lake, tmp_path / "filled", weeks)
    pd.testing.assert_frame_equal(rows(tmp_path / "filled"), rows(tmp_path / "built"), check_exact=True)
    again = fill(lake, tmp_path / "built", weeks)
    assert (again.rows, again.added, again.gone) == (len(rows(tmp_path / "built")), 0, 0)


def test_a_killed_backfill_goes_on_behind_the_last_finished_week(tmp_path, lake):
    write(lake, chain())
    built(lake, tmp_path / "features")
    before = rows(tmp_path / "features")
    command = [sys.executable, "-c", DIES, str(tmp_path / "lake"), str(tmp_path / "features"), "4", TODAY.isoformat()]
    died = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    pd.testing.assert_frame_equal(rows(tmp_path / "features"), before)  # readers notice nothing
    told = []
    filled = fill(lake, tmp_path / "features", (2, 6), progress=told.append)
    assert [line.split(", ")[1] for line in told] == [f"as of {d:%Y-%m-%d}" for d in (landed(5), landed(6), TODAY)]
    assert (filled.added, filled.gone) == (0, 0)
    pd.testing.assert_frame_equal(rows(tmp_path / "features"), before)
    assert len(list(table_path(tmp_path / "features", VIEW.name).glob("*.parquet"))) == 5  # a partition a week


def test_another_range_does_not_go_on_with_what_a_killed_one_left(tmp_path, lake):
    write(lake, chain())

    def stop(what):
        if "3 of" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(lake, tmp_path / "features", (2, 6), progress=stop)
    told = []
    fill(lake, tmp_path / "features", (3, 6), progress=told.append)
    assert next(line.split(", ")[1] for line in told) == f"as of {landed(3):%Y-%m-%d}"


def test_a_build_that_follows_a_backfill_finds_nothing_to_do(tmp_path, lake):
    write(lake, chain())
    fill(lake, tmp_path / "features")
    before = sorted(table_path(tmp_path / "features", VIEW.name).glob("*.parquet"))
    built(lake, tmp_path / "features")
    assert sorted(table_path(tmp_path / "features", VIEW.name).glob("*.parquet")) == before


def test_a_week_missing_today_leaves_the_table_of_before(tmp_path, lake):
    tables = chain()
    write(lake, {**tables, "pos_lines": tables["pos_lines"].query("week != 6")}, until=landed(5))
    built_at = landed(5)
    (tmp_path / "features").mkdir()
    grow_tables(lake, [VIEW], features_dir=tmp_path / "features", as_of=built_at, progress=lambda _: None)
    before = rows(tmp_path / "features")
    with pytest.raises(EmptyWeekError, match="week 6"):
        fill(lake, tmp_path / "features", (1, 5))
    pd.testing.assert_frame_equal(rows(tmp_path / "features"), before)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"view": "no_such_view"}, "no_such_view is no view of the catalog; choose one of: outlet_ppg_sales, "),
        (
            {"weeks": (4, 2)},
            "weeks 4 to 2 cannot be filled: the weeks whose sales have landed by 2017-02-16 are 1 to 6",
        ),
        ({"weeks": (5, 9)}, "weeks 5 to 9 cannot be filled"),
        ({"as_of": landed(3), "weeks": (1, 2)}, "holds what was known until 2017-02-16T05:00:00Z, after 2017-01-24T05"),
    ],
)
def test_what_cannot_be_filled_is_told_with_what_can(tmp_path, lake, options, said):
    write(lake, chain())
    built(lake, tmp_path)
    asked = {"view": VIEW.name, "weeks": (1, 2), "features_dir": tmp_path, "as_of": TODAY}
    with pytest.raises(BackfillError, match=said):
        backfill(lake, **{**asked, **options})
