"""A feature table says what was known when: late and corrected events make new versions and change none."""

from datetime import timedelta

import pandas as pd
import pytest

from feature_repo.build import EmptyWeekError, build, empty_weeks, grow_tables, sources, table_path
from feature_repo.catalog import VIEWS
from poplift.lake import Lake
from tests.unit.feature_repo.late_chain import WEEKS, chain, disturbed, landed, write

TODAY = landed(WEEKS) + timedelta(days=2)
QUICK = tuple(v for v in VIEWS if v.name in {"outlet_trend", "ppg_trend"})


def grow(lake, folder, as_of, progress=lambda _: None):
    """A build of the two views that cost least."""
    folder.mkdir(exist_ok=True)
    grow_tables(lake, QUICK, features_dir=folder, as_of=as_of, progress=progress)


def as_known(folder, view, instant):
    """What the table says as of an instant: the newest known version of every row."""
    frame = pd.read_parquet(table_path(folder, view.name))
    keys = [*view.entities, "event_timestamp"]
    known = frame[frame["created_timestamp"] <= instant].sort_values([*keys, "created_timestamp"])
    return known.drop_duplicates(keys, keep="last").drop(columns="created_timestamp").reset_index(drop=True)


def computed(lake, view, instant):
    """The view computed from nothing but what the lake knew at an instant, up to a week that was missing then."""
    tables = sources(lake, as_of=instant)
    missing = empty_weeks(tables, as_of=instant)
    if missing:
        tables = type(tables)(
            **{**vars(tables), "pos_lines": tables.pos_lines.filter(tables.pos_lines.week < missing[0])}
        )
    frame = view.build(tables).to_pandas()
    keys = [*view.entities, "event_timestamp"]
    for name in ("event_timestamp", "created_timestamp"):
        frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[us, UTC]")
    return frame.sort_values(keys).drop(columns="created_timestamp").reset_index(drop=True)


def assert_says(folder, lake, instants, views=QUICK):
    """At every instant the table says what a computation at that instant would have said."""
    for instant in instants:
        for view in views:
            expected = computed(lake, view, instant)
            got = as_known(folder, view, instant)
            pd.testing.assert_frame_equal(got[expected.columns], expected, check_dtype=False, check_exact=True)


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


@pytest.mark.parametrize("seed", [1, 2])
def test_the_table_says_at_every_decision_instant_what_was_known_then(tmp_path, lake, seed):
    write(lake, disturbed(chain(seed), seed))
    grow(lake, tmp_path / "features", TODAY)
    assert_says(tmp_path / "features", lake, [*(landed(w) for w in range(1, WEEKS + 1)), TODAY])


def test_every_view_says_in_the_middle_what_was_known_then(tmp_path, lake):
    write(lake, disturbed(chain(3), 3))
    build(lake, features_dir=tmp_path / "features", as_of=landed(5))
    assert_says(tmp_path / "features", lake, [landed(4)], VIEWS)


def contents(folder):
    """Every row version of the views that were built, in one order."""
    return {
        v.name: pd.read_parquet(table_path(folder, v.name))
        .sort_values([*v.entities, "event_timestamp", "created_timestamp"])
        .reset_index(drop=True)
        for v in VIEWS
        if table_path(folder, v.name).exists()
    }


def assert_same(one, other):
    """Both folders hold the same versions, known at the same instants."""
    left, right = contents(one), contents(other)
    assert left.keys() == right.keys() > set()
    for name, frame in left.items():
        pd.testing.assert_frame_equal(frame, right[name], check_exact=True)


def test_building_week_by_week_leaves_what_building_once_leaves(tmp_path, lake):
    tables, before = disturbed(chain(4), 4), None
    for instant in [*(landed(w) for w in range(3, WEEKS + 1)), TODAY]:
        write(lake, tables, until=instant, after=before)
        grow(lake, tmp_path / "weekly", instant)
        before = instant
    grow(lake, tmp_path / "once", TODAY)
    assert_same(tmp_path / "weekly", tmp_path / "once")
    for view in QUICK:
        rows = contents(tmp_path / "once")[view.name]
        assert rows.duplicated([*view.entities, "event_timestamp"]).any()  # there were corrections


def test_nothing_late_makes_one_version_of_every_row_known_when_its_week_had_landed(tmp_path, lake):
    write(lake, chain())
    build(lake, features_dir=tmp_path, as_of=TODAY)
    for view in VIEWS:
        frame = pd.read_parquet(table_path(tmp_path, view.name))
        assert not frame.duplicated([*view.entities, "event_timestamp"]).any()
        assert set(frame["created_timestamp"] - frame["event_timestamp"]) == {pd.Timedelta(days=1)}


def test_a_correction_appends_only_what_it_changed_and_leaves_the_files_that_were_there(tmp_path, lake):
    tables = chain()
    write(lake, tables)
    grow(lake, tmp_path, TODAY)
    before = {p: p.read_bytes() for p in table_path(tmp_path, "ppg_trend").glob("*.parquet")}
    line = tables["pos_lines"].query("week == 5 and product_id == 'p4' and outlet_id == 'o1'").head(1)
    later = TODAY + timedelta(days=1)
    write(lake, {"pos_lines": line.assign(outlet_id="o2", product_id="p1", created_at=later)})
    grow(lake, tmp_path, later)
    after = {p: p.read_bytes() for p in table_path(tmp_path, "ppg_trend").glob("*.parquet")}
    assert {p: after[p] for p in before} == before
    (added,) = set(after) - set(before)
    rows = pd.read_parquet(added)
    assert set(rows["ppg_id"]) == {"cola"}
    assert set(rows["created_timestamp"]) == {pd.Timestamp(later)}
    assert len(rows) == 2  # weeks 5 and 6


def test_a_source_that_adds_to_its_past_makes_the_tables_anew(tmp_path, lake):
    tables = chain()
    half = tables["pos_lines"]["outlet_id"] != "o3"
    write(lake, {**tables, "pos_lines": tables["pos_lines"][half]})
    grow(lake, tmp_path / "grown", TODAY)
    write(lake, {"pos_lines": tables["pos_lines"][~half]})
    grow(lake, tmp_path / "grown", TODAY)
    grow(lake, tmp_path / "fresh", TODAY)
    assert_same(tmp_path / "grown", tmp_path / "fresh")


def test_a_week_that_came_late_is_not_known_before_it_came_and_the_weeks_before_it_are(tmp_path, lake):
    tables = chain()
    missing = tables["pos_lines"]["week"] == 4
    tables["pos_lines"].loc[missing, "created_at"] = landed(5) + timedelta(days=3)
    write(lake, tables)
    with pytest.raises(EmptyWeekError, match="no line in week 4"):
        grow(lake, tmp_path, landed(5))
    grow(lake, tmp_path, TODAY)
    assert_says(tmp_path, lake, [landed(3), landed(5), landed(6), TODAY])
    created = pd.read_parquet(table_path(tmp_path, "ppg_trend")).groupby("event_timestamp")["created_timestamp"].min()
    assert created.to_list() == [landed(1), landed(2), landed(3), landed(6), landed(6), landed(6)]


def test_a_build_that_died_between_two_views_ends_where_an_undisturbed_one_does(tmp_path, lake):
    write(lake, disturbed(chain(5), 5))

    class DiedError(Exception):
        """The process is gone."""

    def dies_at(count):
        told = []

        def progress(what):
            told.append(what)
            if len(told) == count:
                raise DiedError

        return progress

    for count in (1, 3, 4, 6):
        with pytest.raises(DiedError):
            grow(lake, tmp_path / "died", TODAY, progress=dies_at(count))
    grow(lake, tmp_path / "died", TODAY)
    grow(lake, tmp_path / "clean", TODAY)
    assert_same(tmp_path / "died", tmp_path / "clean")
    assert list((tmp_path / "died" / ".versions").glob("*.next.json")) == []


def test_promotions_are_the_managed_ones_and_are_copied_only_when_rows_have_versions(tmp_path):
    managed = {p for p, ppg in zip(*(chain()["products"][c] for c in ("product_id", "ppg_id")), strict=True) if ppg}
    found = []
    for has_versions in (True, False):
        lake = Lake(tmp_path / str(has_versions))
        for name, frame in chain().items():
            lake.connection.register("coming", frame)
            lake.append(name, "SELECT * FROM coming", has_unique_keys=not has_versions)
        promotions = sources(lake, as_of=TODAY).promotions.to_pandas()
        copied = {name for (name,) in lake.connection.execute("SHOW TABLES").fetchall()}
        assert ("_snapshot_promotions" in copied) == has_versions
        found.append(promotions.sort_values(["week", "outlet_id", "product_id"], ignore_index=True))
    assert set(found[0]["product_id"]) == managed
    pd.testing.assert_frame_equal(*found)
