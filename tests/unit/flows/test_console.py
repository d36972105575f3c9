"""What a person reads: product lines stay, library chatter goes, and comes back when a step fails."""

import sys

import pytest
from rich.console import Console as Terminal

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
    assert "what the library said before it fell\n" in shown.err
    assert "✓" not in shown.out


def test_a_table_aligns_numbers_right_and_words_left(capsys):
    rows = [["a", "-1.5 to 20.0", "display"], ["b", "3,000", "mailer+price_cut_20"], ["c", "–", "none"]]
    Console().table("Plan", ["outlet", "margin", "activation"], rows)
    shown = capsys.readouterr().out.splitlines()
    assert "│ a      │ -1.5 to 20.0 │ display             │" in shown
    assert "│ b      │        3,000 │ mailer+price_cut_20 │" in shown
    assert "│ c      │            – │ none                │" in shown


def test_a_long_line_goes_on_below_its_beginning_and_a_path_stays_in_one_piece(capsys):
    console, path = Console(), "/srv/" + "x" * 60
    console.terminal = Terminal(file=sys.stdout, width=30, force_terminal=True, color_system=None, highlight=False)
    console.line("deviance of the model against the long mean", indent=4)
    console.where("page:", path)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines] == [
        "    deviance of the model",
        "    against the long mean",
        f"  page: {path}",
    ]


def test_a_log_keeps_a_long_line_whole(capsys):
    Console().line("word " * 60, indent=4)
    assert capsys.readouterr().out == "    " + "word " * 60 + "\n"


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
