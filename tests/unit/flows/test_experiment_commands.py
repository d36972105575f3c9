"""What could never be launched is refused before anything is computed, whichever command is asked."""

import pytest
from typer.testing import CliRunner

from flows.cli import app


@pytest.mark.parametrize("command", [["design"], ["launch", "--weeks", "4"]], ids=["design", "launch"])
@pytest.mark.parametrize(
    ("name", "activation", "said"),
    [
        ("All in", "display", "'All in': at most 60 small letters, digits and hyphens"),
        ("-x", "display", "'-x': at most 60 small letters"),
        ("x" * 61, "display", "at most 60 small letters"),
        ("all-in", "none", "none is what the activation is compared with"),
        ("all-in", "poster", "poster"),
    ],
)
def test_a_name_or_activation_no_launch_takes_is_refused_at_once(monkeypatch, command, name, activation, said):
    monkeypatch.setattr("flows.quiet.quieten", lambda: None)  # it would last, and warnings stay errors here
    monkeypatch.setenv("COLUMNS", "300")
    verb, *more = command
    done = CliRunner().invoke(app, ["experiment", verb, *more, "--activation", activation, "--ppg", "p", "--", name])
    assert done.exit_code == 2
    assert said in done.output
