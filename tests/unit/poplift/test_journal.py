"""The journal is only ever appended to, by any number of processes, and tells when it was not."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poplift.journal import Journal, JournalError

WRITER = """
import sys
from pathlib import Path
from poplift.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    journal.append({"writer": sys.argv[2], "number": number})
"""
texts = st.lists(st.text(max_size=20), min_size=2, max_size=6)


def written(path, values):
    path.unlink(missing_ok=True)
    for value in values:
        Journal(path).append({"value": value})
    return path.read_bytes().splitlines(keepends=True)


def test_lines_come_back_in_order_with_what_was_said(tmp_path):
    journal = Journal(tmp_path / "deep" / "journal.jsonl")
    appended = [journal.append({"value": value}) for value in ("a", "b")]
    assert journal.lines() == appended
    assert [line.record["value"] for line in journal.lines()] == ["a", "b"]
    assert journal.faults() == ()


def test_no_file_has_no_lines_and_no_faults(tmp_path):
    assert (Journal(tmp_path / "none.jsonl").lines(), Journal(tmp_path / "none.jsonl").faults()) == ([], ())


@settings(max_examples=60, deadline=None)
@given(values=texts, data=st.data())
def test_any_byte_changed_before_the_last_line_is_found(tmp_path_factory, values, data):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    lines = written(path, values)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - len(lines[-1]) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert Journal(path).faults() != ()


@settings(max_examples=20, deadline=None)
@given(values=texts, data=st.data())
def test_a_line_taken_out_or_put_in_twice_is_found(tmp_path_factory, values, data):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    lines = written(path, values)
    place = data.draw(st.integers(0, len(lines) - 2))
    path.write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
    assert Journal(path).faults() != ()
    path.write_bytes(b"".join(lines[: place + 1] + lines[place:]))
    assert Journal(path).faults() != ()


def test_a_line_that_somebody_else_appended_is_found(tmp_path):
    path = tmp_path / "journal.jsonl"
    Journal(path).append({"value": 1})
    with path.open("a") as file:
        file.write(json.dumps({"value": 2}) + "\n")
    assert Journal(path).faults() == ("journal.jsonl line 2: was not written by the platform, it has no hash",)


def test_a_line_torn_by_a_crash_is_kept_sealed_and_no_record(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append({"value": 1})
    with path.open("a") as file:
        file.write('{"value": 2, "prev')
    journal.append({"value": 3})
    assert [line.record and line.record["value"] for line in journal.lines()] == [1, None, 3]
    assert journal.faults() == ()
    path.write_text(path.read_text().replace('2, "prev', '9, "prev'))
    assert journal.faults() != ()


def test_lines_from_before_the_chain_are_sealed_by_the_first_one_in_it(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text('{"value": 1}\n{"value": 2}\n')
    journal = Journal(path)
    journal.append({"value": 3})
    assert journal.faults() == ()
    path.write_text(path.read_text().replace('{"value": 1}', '{"value": 9}'))
    assert len(journal.faults()) == 1


def test_several_processes_append_at_once_and_every_line_is_whole_and_in_the_chain(tmp_path):
    path = tmp_path / "journal.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, "25"]) for name in "abcd"]
    assert [writer.wait(timeout=60) for writer in writers] == [0] * 4
    records = [line.record for line in Journal(path).lines()]
    assert len(records) == 100
    for name in "abcd":
        assert [r["number"] for r in records if r["writer"] == name] == list(range(25))
    assert Journal(path).faults() == ()


def test_a_disk_that_is_full_leaves_the_file_as_it_was_and_says_so(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({"value": 1})
    before = journal.path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("poplift.journal.os.fsync", full)
    with pytest.raises(JournalError, match=r"journal.jsonl: cannot be written .*No space left.*make room"):
        journal.append({"value": 2})
    assert journal.path.read_bytes() == before
