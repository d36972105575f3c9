"""A report is there whole or not at all."""

import pytest

from poplift.atomic import write_whole


def test_a_file_is_replaced_whole_and_nothing_else_is_left_behind(tmp_path):
    path = tmp_path / "reports" / "index.html"
    write_whole(path, "old")
    write_whole(path, "new · ✓")
    assert path.read_text(encoding="utf-8") == "new · ✓"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_breaks_leaves_the_old_file_and_no_debris(tmp_path):
    path = tmp_path / "index.html"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half a file \ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
