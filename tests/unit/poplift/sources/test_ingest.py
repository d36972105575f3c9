"""What an ingest remembers of a source, and when it looks at the same rows again."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from poplift.contracts import tables
from poplift.lake import Lake
from poplift.sources import ingest as module
from poplift.sources.ingest import ingest
from poplift.sources.parquet_folder import ParquetFolder

AT = datetime(2018, 1, 1, tzinfo=UTC)


def test_rows_of_a_table_that_need_not_be_delivered_are_judged_anew_when_its_contract_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"outlet_id": ["o1"], "effective_at": [AT], "created_at": [AT]}
    pd.DataFrame({**row, "is_managed": [True]}).to_parquet(tmp_path / "outlets.parquet")
    profile = pd.DataFrame({**row, "banner": ["kiosk"], "area": ["town"], "income": [0.0], "coolers": [-1.0]})
    profile.to_parquet(tmp_path / "outlet_profiles.parquet")
    source, lake = ParquetFolder(tmp_path), Lake(tmp_path / "lake")
    assert [t.rows_quarantined for t in ingest(source, lake, as_of=AT).tables] == [0, 1]
    assert not ingest(source, lake, as_of=AT).is_new

    columns = tuple(replace(column, minimum=None) for column in tables.OUTLET_PROFILES.columns)
    wider = replace(tables.OUTLET_PROFILES, columns=columns)
    every = tuple(wider if known.table == wider.table else known for known in tables.EVERY_CONTRACT)
    for place in (tables, module):
        monkeypatch.setattr(place, "EVERY_CONTRACT", every)
    again = ingest(source, lake, as_of=AT)
    assert again.is_new
    assert [t.rows_quarantined for t in again.tables] == [0, 0]
