"""What a person reads: product lines stay, library chatter goes, and comes back when a step fails."""

import sys

import pytest

from flows.console import Console
from flows.steps.progress import interrupted


def test_library_output_is_swallowed_and_the_step_line_is_shown(capsys):
    def step(_settings, progress):
        sys.stdout.write("library chatter")
        sys.stderr.write("library warning")
        progress("half way")
        return 7

    assert Console().step("Work", step, None) == 7
    shown = capsys.readouterr()
    assert "half way" in shown.out
    assert "✓ Work" in shown.out
    assert "library" not in shown.out + shown.err


def test_library_output_is_shown_when_the_step_fails(capsys):
    def step(_settings, progress):
        progress("starting")
        sys.stdout.write("what the library said before it fell")
        raise RuntimeError("fell")

    with pytest.raises(RuntimeError, match="fell"):
        Console().step("Work", step, None)
    shown = capsys.readouterr()
    assert "what the library said before it fell" in shown.err
    assert "✓" not in shown.out


def test_ctrl_c_that_native_code_threw_away_still_ends_the_step():
    def step(_settings, progress):
        interrupted.set()
        return 7

    try:
        with pytest.raises(KeyboardInterrupt):
            Console().step("Work", step, None)
    finally:
        interrupted.clear()


def test_a_path_that_looks_like_markup_is_shown_as_it_is(capsys):
    Console().step("Score /data/[/old].parquet", lambda _settings, progress: progress("part [/] of 2"), None)
    shown = capsys.readouterr().out
    assert "part [/] of 2" in shown
    assert "✓ Score /data/[/old].parquet" in shown
