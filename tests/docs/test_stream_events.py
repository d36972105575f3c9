"""What the page on streaming states about lines, features, times and limits is so."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from feature_repo.catalog import RUNNING, RUNNING_VIEWS
from flows.steps.stream import Pace
from poplift.arrivals import SKEW, SOURCE
from poplift.settings import load_settings
from poplift.stream import FIELD, RedisStream
from serving.events import EXAMPLE, MOST_LINES, PosLine

PAGE = "how-to/stream-events.md"
Blocks = Callable[..., list[str]]


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    """The page without its line breaks."""
    return " ".join((root / "docs" / PAGE).read_text().split())


def test_the_line_of_the_page_is_one_the_api_takes(blocks: Blocks) -> None:
    (block,) = blocks(PAGE, "json", "stream_events")
    lines = json.loads(block)
    assert lines == [EXAMPLE]
    for line in lines:
        PosLine.model_validate(line)


def test_the_features_of_the_page_are_those_of_the_view(root: Path, page: str) -> None:
    (view,) = RUNNING_VIEWS
    rows = re.findall(r"^\| `(\w+)` \| ", (root / "docs" / PAGE).read_text(), re.MULTILINE)
    assert rows == [f.name for f in view.features]
    assert f"The view `{view.name}`, feature service `{RUNNING}`" in page


def test_the_times_and_limits_of_the_page_are_those_of_the_code(page: str, tmp_path: Path) -> None:
    assert timedelta(minutes=5) == SKEW
    assert "more than five minutes later than now" in page
    assert Pace().land_every == timedelta(seconds=30)
    assert "every 30 seconds" in page
    assert MOST_LINES == 1000
    assert "1 to 1000 lines" in page
    assert f"`source` is `{SOURCE}`" in page
    stream = RedisStream("127.0.0.1:1", name="prefix")
    assert f"`XADD <prefix>{stream.name.removeprefix('prefix')} * {FIELD} '{{…}}'`" in page
    assert RedisStream.__init__.__kwdefaults__["lease"] == timedelta(seconds=10)
    assert "lease of ten seconds" in page


def test_the_settings_of_the_page_open_week_53_and_let_time_run(
    page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from poplift.clock import wall_now
    from poplift.sources.complete_journey import week_opens

    exported = dict(re.findall(r"export (POPLIFT_\w+)=(\S+)", page))
    assert set(exported) == {
        f"POPLIFT_{name}" for name in ("HOME", "BUSINESS_TIME", "REDIS_URL", "DATABASE_PREFIX", "BUSINESS_CLOCK")
    }
    for name, value in exported.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(home=tmp_path)
    assert week_opens(53) <= settings.business_time < week_opens(54)
    before = wall_now()
    assert before <= settings.now() <= wall_now()
