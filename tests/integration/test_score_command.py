"""`poplift score --input --output` scores the rows somebody planned, once."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

from poplift.settings import child_environment
from serving.batch import PLAN
from tests.served_home import KNOWN, served_home
from tests.unit.serving.conftest import train


def test_the_command_scores_a_file_says_what_became_of_its_rows_and_writes_nothing_twice(small_home, tmp_path):
    settings = served_home(small_home.settings, tmp_path / "var", train(tmp_path / "demand"))
    plans = [
        {**KNOWN, "display": True, "mailer": False, "price_cut": 0.2},
        {**KNOWN, "outlet_id": "nobody", "display": False, "mailer": False, "price_cut": 0.0},
    ]
    pq.write_table(pa.Table.from_pylist(plans, schema=PLAN), tmp_path / "planned.parquet")
    command = [sys.executable, "-m", "flows.cli", "score", "--input", "planned.parquet", "--output", "scores"]

    def run():
        done = subprocess.run(
            command, env=child_environment(settings), cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout, {p: p.stat().st_mtime_ns for p in (tmp_path / "scores").rglob("*.parquet")}

    said, written = run()
    assert "1 scored, 1 unknown" in said
    assert len(written) == 1
    scored = pq.read_table(next(iter(written))).to_pylist()
    assert [row["activation"] for row in scored] == ["display+price_cut_20", "none"]
    assert scored[0]["transactions"] > 0
    assert scored[1]["transactions"] is None
    assert run()[1] == written
