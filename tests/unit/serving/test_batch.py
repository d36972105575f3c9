"""Batch and API are one release: same rows, same numbers, and a retry writes nothing new."""

from typing import Any

import httpx
import pandas as pd
import pyarrow.parquet as pq
import pytest

from poplift.settings import Settings
from serving.batch import PlanError, score_week
from serving.release import LoadedRelease

PPG = "m1-soft-drinks-3"


def plan(rows: list[tuple[str, str, bool, bool, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["outlet_id", "ppg_id", "display", "mailer", "price_cut"])


ROWS = [
    ("367", PPG, False, False, 0.0),
    ("367", PPG, True, True, 0.2),
    ("406", "m1-soft-drinks-9", False, True, 0.0),
    ("nowhere", PPG, False, False, 0.0),
]


@pytest.fixture
def score(loaded: LoadedRelease, store: Any, settings: Settings) -> Any:
    def run(rows: pd.DataFrame, **options: Any) -> Any:
        return score_week(
            loaded,
            rows,
            reader=store,
            business_time=settings.business_time,
            into=settings.predictions_dir,
            **options,
        )

    return run


def test_batch_results_equal_the_api_for_the_same_rows(score: Any, client: httpx.Client) -> None:
    scored = pq.read_table(score(plan(ROWS))).to_pandas()
    asked = [
        {"outlet_id": o, "ppg_id": p, "activation": {"display": d, "mailer": m, "price_cut": c}}
        for o, p, d, m, c in ROWS[:3]
    ]
    answered = client.post("/v1/demand", json={"rows": asked}).json()["rows"]
    for name in ("transactions", "transactions_low", "transactions_high", "units", "price_usd"):
        assert scored[name].tolist()[:3] == [row[name] for row in answered]


def test_an_unknown_row_stays_with_its_reason_and_without_a_number(score: Any) -> None:
    scored = pq.read_table(score(plan(ROWS))).to_pandas()
    assert scored["status"].tolist() == ["scored", "scored", "scored", "unknown"]
    assert pd.isna(scored["transactions"].iloc[3])
    assert "'nowhere'" in scored["flags"].iloc[3]


def test_a_retry_writes_the_same_name_and_nothing_new(score: Any, settings: Settings) -> None:
    first = score(plan(ROWS))
    stamp = first.stat().st_mtime_ns
    assert score(plan(ROWS)) == first
    assert first.stat().st_mtime_ns == stamp
    files = [p for p in settings.predictions_dir.rglob("*") if p.is_file()]
    assert files == [first]


def test_the_size_of_a_chunk_changes_nothing(score: Any) -> None:
    assert score(plan(ROWS), chunk_rows=1) == score(plan(ROWS))


@pytest.mark.parametrize("column", ["outlet_id", "price_cut"])
def test_a_plan_with_gaps_or_without_a_column_is_refused_by_name(score: Any, column: str) -> None:
    with pytest.raises(PlanError, match=column):
        score(plan(ROWS).drop(columns=column))
    gaps = plan(ROWS).astype(object)
    gaps.loc[1, column] = None
    with pytest.raises(PlanError, match=f"plan.{column}: 1 missing"):
        score(gaps)


def test_a_pair_is_read_once_however_many_activations_are_planned_for_it(score: Any, store: Any) -> None:
    asked: list[Any] = []
    read = store.read
    store.read = lambda entities: asked.append(entities) or read(entities)
    score(plan(ROWS))
    (entities,) = asked
    assert [e["outlet_id"] for e in entities] == ["367", "406", "nowhere"]
