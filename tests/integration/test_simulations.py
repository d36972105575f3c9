"""`poplift simulate` and `poplift study` say what they played and found, and keep only what is of enough runs."""

import pyarrow.parquet as pq

from flows.studies.study import RESULTS


def test_a_market_is_played_to_tables_with_its_truth_in_a_folder_of_its_own(settings, command):
    said = command(settings, "simulate", "--seed", "3", "--weeks", "14", "--outlets", "12", "--events")
    folder = settings.home / "market" / "seed-3-12-outlets-14-weeks"
    assert "Simulated market, " in said
    panel = pq.read_table(folder / "panel.parquet").to_pandas()
    assert f"{len(panel):,} panel rows; tables: {folder}\n" in said
    assert f" {panel['transactions'].mean():.3f} " in next(x for x in said.splitlines() if "transactions per cell" in x)
    truth = pq.read_table(folder / "truth" / "truth.parquet")
    assert len(truth) == len(panel)
    assert not set(truth.column_names) & set(panel.columns) - {"outlet_id", "ppg_id", "week"}
    lines = pq.read_table(folder / "events" / "pos_lines.parquet")
    assert set(lines["week"].to_pylist()) == set(range(1, 15))


def test_a_study_of_fewer_runs_than_its_goal_needs_is_shown_and_not_kept(settings, command):
    kept = {path: path.read_bytes() for path in (RESULTS, RESULTS.with_suffix(".md"))}
    said = command(settings, "study", "S7", "--seed", "1", "--runs", "1")
    assert "S7 Experiments, 1 runs from seed 1" in said
    assert "market: last interval holds the true effect" in said
    assert "fewer runs than the goal needs: docs/science.md keeps the answer it has" in said
    assert {path: path.read_bytes() for path in kept} == kept
