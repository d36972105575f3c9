"""Write one instant as nanoseconds and cast it the way Feast's DuckDB store does."""

import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa
from pyarrow import parquet

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "one.parquet"
    parquet.write_table(pa.table({"moment": pa.array([0], pa.timestamp("ns", "UTC"))}), file)
    duckdb.sql(f"SELECT CAST(moment AS TIMESTAMP) FROM '{file}'").fetchall()
