"""What `poplift --help` shows: every command once, in one line that is not cut off."""

import re
import subprocess
import sys

from flows.cli import app
from flows.command_list import SECTIONS


def shown(*words):
    done = subprocess.run([sys.executable, "-m", "flows.cli", *words], capture_output=True, text=True, check=True)
    return done.stdout


def test_every_command_is_in_one_section_of_the_help():
    listed = [name for names in SECTIONS.values() for name in names]
    named = [c.name or c.callback.__name__ for c in app.registered_commands]
    for group in app.registered_groups:
        inner = [c.name or c.callback.__name__ for c in group.typer_instance.registered_commands]
        named += [group.name] if isinstance(group.name, str) else inner
    assert sorted(listed) == sorted(named)


def test_the_help_cuts_no_sentence_off():
    text = shown("--help")
    assert "..." not in text.replace("[ARGS]...", "")
    for names in SECTIONS.values():
        for name in names:
            assert re.search(rf"^  {name} +\S.*\.$", text, re.MULTILINE), name


def test_the_version_is_that_of_the_package():
    assert re.fullmatch(r"poplift \d+\.\d+\.\d+\n", shown("--version"))
