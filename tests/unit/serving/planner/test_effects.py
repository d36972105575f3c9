"""The effect table is checked row by row, bad rows are counted and left out, and order and file layout do not matter."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from serving.planner.effect_files import CurrentEffects, effects_path, read_effects
from serving.planner.effects import COLUMNS, EffectTableError, OldEffectsError, from_frame
from tests.unit.serving.planner.effect_rows import frame, made_up, none, row

NOW = datetime(2018, 1, 2, 5, tzinfo=UTC)


def test_rows_are_found_by_outlet_ppg_and_activation_and_none_is_left_out():
    table = from_frame(
        frame(row("b", "p", "mailer", 2.0), none("b", "p"), row("a", "q", "display", 7.0), none("c", "p"))
    )
    assert (table.outlet_ids, table.ppg_ids) == (("a", "b", "c"), ("p", "q"))
    assert [
        (table.outlet_ids[o], table.ppg_ids[p], table.activations[a].name)
        for o, p, a in zip(table.outlet, table.ppg, table.activation, strict=True)
    ] == [("a", "q", "display"), ("b", "p", "mailer")]
    assert table.margin.estimate.tolist() == [7.0, 2.0]
    assert table.margin.low.tolist() == [6.0, 1.0]
    assert table.place_of_outlet("c") == 2
    assert table.place_of_outlet("bb") is None


def test_the_order_of_rows_changes_neither_the_table_nor_its_digest():
    rows = made_up(3)
    one, other = from_frame(rows), from_frame(rows.sample(frac=1, random_state=1))
    assert one.digest == other.digest
    assert one.margin.estimate.tolist() == other.margin.estimate.tolist()
    rows.loc[5, "incremental_margin_usd_low"] -= 1
    assert from_frame(rows).digest != one.digest


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"activation": "billboard"}, "activation is not known"),
        ({"activation": None}, "activation is not known"),
        ({"outlet_id": ""}, "outlet_id or ppg_id is not a text"),
        ({"ppg_id": None}, "outlet_id or ppg_id is not a text"),
        ({"incremental_margin_usd": np.nan}, "an estimate or bound is not a number"),
        ({"incremental_units_high": np.inf}, "an estimate or bound is not a number"),
        ({"incremental_transactions_low": 99.0}, "an estimate lies outside its interval"),
    ],
)
def test_a_bad_row_is_left_out_and_counted_and_the_others_count(bad, why):
    table = from_frame(frame(row("a", "p", "display"), row("a", "p", "mailer") | bad))
    assert len(table) == 1
    assert table.refused == {why: 1}


def test_a_row_that_is_there_twice_is_not_believed_either_time():
    table = from_frame(frame(row("a", "p", "display", 1.0), row("a", "p", "display", 2.0), row("a", "p", "mailer")))
    assert len(table) == 1
    assert table.refused == {"the row is there twice": 2}


def test_evidence_that_is_not_called_sufficient_is_thin():
    table = from_frame(
        frame(
            row("a", "p", "display"), row("a", "p", "mailer", evidence="good"), row("b", "p", "mailer", evidence=None)
        )
    )
    assert table.is_thin.tolist() == [False, True, True]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named(column):
    with pytest.raises(EffectTableError, match=f"column {column} is missing"):
        from_frame(frame(row("a", "p", "display")).drop(columns=column))


def test_a_table_without_a_usable_row_says_so():
    with pytest.raises(EffectTableError, match="not one of its 1 rows is usable"):
        from_frame(frame(row("a", "p", "billboard")))
    with pytest.raises(EffectTableError, match="not one of its 0 rows"):
        from_frame(frame(row("a", "p", "display")).iloc[:0])
    with pytest.raises(EffectTableError, match="incremental_margin_usd holds string"):
        from_frame(frame(row("a", "p", "display") | {"incremental_margin_usd": "much"}))


def versions():
    """Three versions of one row, and one row of later."""
    at = [
        ("2017-12-18", "2017-12-19"),
        ("2017-12-25", "2017-12-26"),
        ("2017-12-25", "2017-12-28"),
        ("2018-01-08", "2018-01-09"),
    ]
    rows = frame(*(row("a", "p", "display", margin) for margin in (1.0, 2.0, 3.0, 4.0)))
    for place, column in enumerate(("event_timestamp", "created_timestamp")):
        rows[column] = pd.to_datetime([moments[place] for moments in at], utc=True)
    return rows


@pytest.mark.parametrize(("days", "margin"), [(0, 3.0), (-6, 2.0), (-10, 1.0), (30, 4.0)])
def test_of_row_versions_the_newest_known_at_the_instant_counts(tmp_path, days, margin):
    folder = tmp_path / "outlet_ppg_effects"
    folder.mkdir()
    rows = versions()
    rows.iloc[:2].to_parquet(folder / "1.parquet")
    rows.iloc[2:].to_parquet(folder / "2.parquet")
    table = read_effects(effects_path(tmp_path), as_of=NOW + timedelta(days=days))
    assert table.margin.estimate.tolist() == [margin]


def dated(outlet, days):
    """One row that was fitted so many days ago."""
    instant = pd.Timestamp(NOW - timedelta(days=days))
    return row(outlet, "p", "display") | {"event_timestamp": instant, "created_timestamp": instant}


def test_rows_count_as_long_as_the_online_store_would_answer_with_them(tmp_path):
    path = tmp_path / "outlet_ppg_effects.parquet"
    frame(dated("young", 84), dated("old", 85)).to_parquet(path)
    table = read_effects(path, as_of=NOW)
    assert table.outlet_ids == ("young",)
    assert table.refused == {"the fit is more than 84 days old": 1}
    assert table.fitted_at == NOW - timedelta(days=84)
    with pytest.raises(OldEffectsError, match="more than 84 days before 2018-01-03: run `poplift effects`"):
        read_effects(path, as_of=NOW + timedelta(days=1))


def test_a_service_stops_answering_with_effects_that_grow_too_old_while_it_runs(tmp_path):
    frame(dated("a", 0)).to_parquet(tmp_path / "outlet_ppg_effects.parquet")
    today = [NOW]
    current = CurrentEffects(tmp_path, now=lambda: today[0])
    assert current.get() is not None
    today[0] = NOW + timedelta(days=85)
    current.refresh()
    assert current.get() is None
    assert "run `poplift effects`" in current.error


def test_what_is_not_there_and_what_is_not_parquet_are_told_apart(tmp_path):
    with pytest.raises(EffectTableError, match="there is no effect table: run `poplift effects`"):
        read_effects(effects_path(tmp_path), as_of=NOW)
    (tmp_path / "outlet_ppg_effects.parquet").write_text("no")
    with pytest.raises(EffectTableError, match="cannot be read as Parquet"):
        read_effects(effects_path(tmp_path), as_of=NOW)


def test_a_service_follows_the_table_and_keeps_the_last_good_one(tmp_path):
    path = tmp_path / "outlet_ppg_effects.parquet"
    current = CurrentEffects(tmp_path, now=lambda: NOW)
    current.refresh()
    assert current.error is None
    assert current.get() is None
    assert "run `poplift effects`" in current.error
    frame(row("a", "p", "display", 1.0)).to_parquet(path)
    current.refresh()
    first = current.get()
    assert (first.margin.estimate.tolist(), current.error) == ([1.0], None)
    current.refresh()
    assert current.get() is first
    path.write_bytes(b"half a file")
    current.refresh()
    assert current.get() is first
    assert "cannot be read" in current.error
    frame(row("a", "p", "display", 2.0), row("a", "p", "mailer", 1.0)).to_parquet(path)
    current.refresh()
    assert current.get().margin.estimate.tolist() == [2.0, 1.0]
    assert current.error is None


def test_what_a_price_cut_gives_away_is_a_cost_that_a_budget_counts_and_no_loss_of_its_margin():
    table = from_frame(frame(none("a", "p"), row("a", "p", "price_cut_20", 5.0, give_away_usd=3.0)))
    assert (table.margin.estimate[0], table.margin.low[0], table.margin.high[0]) == (8.0, 7.0, 9.0)
    assert table.give_away.tolist() == [3.0]
