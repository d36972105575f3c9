"""The demo killed at every step: whatever is left, the next run ends well and the lake is that of a clean run."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import pyarrow.parquet as pq
import pytest

from poplift import registry
from poplift.settings import child_environment, load_settings
from serving import current, release

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

LONGEST = 400
# What the demo prints while it works, in its order: each is a place where it is killed, the run before having got
# just past the place before.
PLACES = (
    "    pos_lines",
    "    price_calendar",
    "    outlet_trend",
    "    feast materialize",
    "    trial 1 of 1",
    "    logging to MLflow",
    "    building and verifying",
    "    reading online features",
    "    Drift page",
    "    waiting for the API",
)


@dataclass(frozen=True)
class Ended:
    """How one run ended: its code, what it printed, whether the place was reached, what was torn meanwhile."""

    code: int
    output: str
    reached: bool
    torn: list[str]


def torn(settings):
    """Files under their final name that cannot be read in full."""
    found = []
    for path in settings.home.rglob("*.parquet"):
        try:
            pq.ParquetFile(path).metadata  # noqa: B018 # reading the footer is the check: it is written last
        except FileNotFoundError:
            continue
        except Exception as error:  # noqa: BLE001 # whatever is wrong with it
            found.append(f"{path}: {error}")
    for path in [
        *settings.lake_dir.glob("ingests/*.json"),
        settings.features_dir / "built.json",
        settings.releases_dir / "current",
    ]:
        try:
            json.loads(path.read_text())
        except FileNotFoundError:
            continue
        except ValueError as error:
            found.append(f"{path}: {error}")
    pages = [p for p in settings.reports_dir.rglob("*.html") if not p.read_text().rstrip().endswith("</html>")]
    return found + [f"{p}: no end" for p in pages]


def run(settings, *, place=None, with_signal=signal.SIGKILL, delay=0.0):
    """Run the demo and, once `place` is printed, send the signal to it and to what it started."""
    command = [sys.executable, "-u", "-m", "flows.cli", "demo"]
    environment = child_environment(settings, COLUMNS="200", PYTHONUNBUFFERED="1")
    lines, reached, broken = [], False, []
    with subprocess.Popen(
        command,
        env=environment,
        cwd=settings.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        watchdog = threading.Timer(LONGEST, os.killpg, [process.pid, signal.SIGKILL])
        watchdog.start()
        try:
            for line in process.stdout:
                lines.append(line)
                if place is not None and not reached and line.startswith(place):
                    reached = True
                    time.sleep(delay)
                    os.killpg(process.pid, with_signal)
                    broken = torn(settings)
        finally:
            watchdog.cancel()
    return Ended(process.returncode, "".join(lines), reached, broken or torn(settings))


def parts(settings):
    return sorted(str(p.relative_to(settings.lake_dir)) for p in settings.lake_dir.rglob("part-*.parquet"))


def left_over(settings):
    return [str(p) for p in settings.home.rglob("*") if re.search(r"\.(partial|part)$|/\.building-", str(p))]


@pytest.fixture(scope="module", autouse=True)
def interruptible():
    """A job in the background of a shell ignores Ctrl-C, and so would every process it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A demo that nobody disturbed."""
    settings = load_settings(home=tmp_path_factory.mktemp("clean"), search_trials=1)
    ended = run(settings)
    assert ended.code == 0, ended.output[-3000:]
    assert ended.torn == []
    return settings


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """One home, killed at every place in turn."""
    settings = load_settings(home=tmp_path_factory.mktemp("killed"), search_trials=1)
    for number, place in enumerate(PLACES):
        ended = run(settings, place=place, delay=0.05 + 0.15 * (number % 3))
        assert ended.reached, f"never printed {place!r}:\n{ended.output[-3000:]}"
        assert ended.code == -signal.SIGKILL
        assert ended.torn == [], place
    return settings


@pytest.fixture(scope="module")
def healed(killed):
    """The run after all of that, which nobody disturbed."""
    return run(killed)


def test_a_demo_killed_at_every_step_ends_well_when_it_is_run_again(killed, healed, clean):
    assert healed.code == 0, healed.output[-3000:]
    assert healed.torn == []
    assert parts(killed) == parts(clean)
    assert left_over(killed) == []


def test_what_the_killed_demo_made_in_the_end_is_what_a_clean_one_makes(killed, healed, clean):
    assert healed.code == 0
    theirs, ours = (current.load_current(s.releases_dir) for s in (clean, killed))
    for name in (*(f"{head}.lgb" for head in release.HEADS), "plan.json", "policy.json", "golden.json"):
        assert (ours.folder / name).read_bytes() == (theirs.folder / name).read_bytes(), name
    champion = registry.by_alias(killed, name="demand", alias=registry.CHAMPION)
    assert champion.version == ours.versions["model_version"]
    moves = [json.loads(line) for line in (killed.home / "ledger.jsonl").read_text().splitlines()]
    assert moves[-1]["to_version"] == champion.version


def test_ctrl_c_says_how_to_go_on_and_the_next_run_does(tmp_path, clean):
    settings = load_settings(home=tmp_path, search_trials=1)
    ended = run(settings, place="    promotions", with_signal=signal.SIGINT, delay=0.3)
    assert ended.reached
    assert ended.code == 130
    assert "stopped; nothing half-done is left, run the same command again to go on" in ended.output
    assert "Traceback" not in ended.output
    assert ended.torn == []
    again = run(settings, place="    trial 1 of 1", with_signal=signal.SIGINT)
    assert again.code == 130
    assert "Traceback" not in again.output
    assert parts(settings) == parts(clean)
