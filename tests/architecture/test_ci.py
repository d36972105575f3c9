"""What .ci/run does with a make that passes or fails."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def checkout(tmp_path: Path, root: Path) -> Path:
    """A checkout that holds .ci/run and a make and tools that only write down how they were called."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(root / ".ci/run", tmp_path / ".ci/run")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("make", "chromium", "java", "promtool"):
        program = programs / name
        program.write_text(f'#!/bin/sh\necho "{name} $* CI=$CI TZ=$TZ" >> "{tmp_path}/calls"\n[ "$1" != "$FAIL" ]\n')
        program.chmod(0o755)
    return tmp_path


def run(checkout: Path, failing: str) -> tuple[int, list[str], str]:
    """Status, calls and output of .ci/run, started from another folder."""
    path = f"{checkout / 'bin'}{os.pathsep}{os.defpath}"
    environment = {"PATH": path, "FAIL": failing}
    done = subprocess.run(
        [str(checkout / ".ci/run")], cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, (checkout / "calls").read_text().splitlines(), done.stdout


def test_ci_runs_the_quick_tests_then_the_slow_ones_and_says_how_long(checkout: Path) -> None:
    status, calls, output = run(checkout, failing="nothing")
    assert status == 0
    assert calls == ["make test CI=true TZ=UTC", "make test-slow CI=true TZ=UTC"]
    assert "ci: test took " in output
    assert "ci: test-slow took " in output


@pytest.mark.parametrize(("failing", "reached"), [("test", 1), ("test-slow", 2)])
def test_ci_fails_when_a_part_of_it_fails(checkout: Path, failing: str, reached: int) -> None:
    status, calls, output = run(checkout, failing=failing)
    assert status == 1
    assert len(calls) == reached
    assert re.search(rf"ci: {failing} took \d+ s, status 1", output)
