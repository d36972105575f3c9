"""The table of effects: empty at first, every fit an event of its own, and what was believed before stays readable."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from feature_repo.effects import FEATURES, KEYS, TIMES, ensure_table, fitted_recipe, write_table

NOW = datetime(2018, 1, 2, 5, tzinfo=UTC)
LATER = NOW + timedelta(weeks=4)


def fit(effect: float) -> pd.DataFrame:
    rows = pd.DataFrame({"outlet_id": ["1", "1"], "ppg_id": ["p", "p"], "activation": ["none", "display"]})
    rows = rows.assign(**{name: [0.0, effect] for name in FEATURES if name != "is_sufficient"})
    return rows.assign(evidence=["sufficient", "thin"])


def read(folder: Path) -> pd.DataFrame:
    return pq.ParquetDataset(folder / "outlet_ppg_effects").read().to_pandas().sort_values([*TIMES, *KEYS])


def test_before_the_first_fit_there_is_an_empty_table_with_every_column(tmp_path: Path) -> None:
    ensure_table(tmp_path)
    ensure_table(tmp_path)
    assert list(read(tmp_path).columns) == [*KEYS, "evidence", *FEATURES, *TIMES]
    assert read(tmp_path).empty
    assert fitted_recipe(tmp_path) is None


def test_a_fit_takes_the_place_of_the_empty_table_and_the_same_one_again_adds_nothing(tmp_path: Path) -> None:
    ensure_table(tmp_path)
    counts = [write_table(fit(1.0), features_dir=tmp_path, as_of=NOW, recipe="a") for _ in range(2)]
    assert counts == [2, 2]
    assert fitted_recipe(tmp_path) == "a"
    ensure_table(tmp_path)
    assert read(tmp_path)["is_sufficient"].tolist() == [0.0, 1.0]


def test_a_later_fit_is_a_new_event_beside_what_was_believed_before(tmp_path: Path) -> None:
    write_table(fit(1.0), features_dir=tmp_path, as_of=NOW, recipe="a")
    assert write_table(fit(2.0), features_dir=tmp_path, as_of=LATER, recipe="b") == 4
    display = read(tmp_path).query("activation == 'display'")
    assert display["event_timestamp"].tolist() == [NOW, LATER]
    assert display["incremental_transactions"].tolist() == [1.0, 2.0]
    assert fitted_recipe(tmp_path) == "b"


def test_another_fit_at_the_same_instant_takes_the_place_of_the_first(tmp_path: Path) -> None:
    write_table(fit(1.0), features_dir=tmp_path, as_of=NOW, recipe="a")
    assert write_table(fit(3.0), features_dir=tmp_path, as_of=NOW, recipe="b") == 2
    assert read(tmp_path)["incremental_transactions"].tolist() == [3.0, 0.0]


def test_a_second_fit_at_one_instant_leaves_the_fits_of_other_instants_as_they_were(tmp_path: Path) -> None:
    write_table(fit(1.0), features_dir=tmp_path, as_of=NOW, recipe="a")
    write_table(fit(2.0), features_dir=tmp_path, as_of=LATER, recipe="b")
    write_table(fit(3.0), features_dir=tmp_path, as_of=LATER, recipe="c")
    display = read(tmp_path).query("activation == 'display'")
    assert display["incremental_transactions"].tolist() == [1.0, 3.0]


def test_a_fit_of_an_earlier_instant_leaves_the_newer_one(tmp_path: Path) -> None:
    write_table(fit(2.0), features_dir=tmp_path, as_of=LATER, recipe="b")
    assert write_table(fit(1.0), features_dir=tmp_path, as_of=NOW, recipe="a") == 4
    assert read(tmp_path).query("activation == 'display'")["incremental_transactions"].tolist() == [1.0, 2.0]
