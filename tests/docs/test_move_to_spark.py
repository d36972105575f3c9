"""What the page on Spark says can be set is accepted, and its figures are those of a measurement."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from poplift.settings import load_settings
from poplift.spark import is_local
from tests.docs.conftest import ROOT


@pytest.fixture
def page(root: Path) -> str:
    """Text of the page."""
    return (root / "docs/how-to/move-to-spark.md").read_text()


def test_the_variables_of_the_page_make_settings_of_a_cluster(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for block in blocks:
        for name, value in re.findall(r"^export (POPLIFT_\w+)=(\S+)$", block, re.MULTILINE):
            monkeypatch.setenv(name, value)
        settings = load_settings()
        assert settings.offline_engine == "spark"
    assert [is_local(settings.spark_master), settings.home, settings.redis_url is None] == [
        False,
        Path("/shared/poplift"),
        False,
    ]


def test_a_measurement_writes_its_table_day_and_machine_between_the_markers(page: str, tmp_path: Path) -> None:
    copy = tmp_path / "page.md"
    copy.write_text(page)
    script = (
        "import sys, features_scale as script; from pathlib import Path; from measure import COLUMNS, Result; "
        "script.PAGE = Path(sys.argv[1]); "
        "script.write_page(Result('x', 'y', True, COLUMNS, (('DuckDB, 1 M lines', '1.00', '1 to 1', '9'),)), 3, 1)"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script, copy], cwd=ROOT / "benchmarks", check=True)
    written = copy.read_text()
    begin, end = "<!-- figures: begin -->", "<!-- figures: end -->"
    block = written.partition(begin)[2].partition(end)[0]
    assert re.search(r"^\d+ \w+ \d{4}, \d+ cores, \w+, 3 runs each, of the largest size 1:$", block, re.MULTILINE)
    assert "| DuckDB, 1 M lines | 1.00 | 1 to 1 | 9 |" in block
    assert written.partition(begin)[0] == page.partition(begin)[0]
    assert written.partition(end)[2] == page.partition(end)[2]
