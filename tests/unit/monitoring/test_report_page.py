"""Evidently's page gets a header, and data that only it would miss is left out."""

import json
import re

import pytest

from monitoring.report_page import ReportFormatError, dress


def evidently_page(data):
    return (
        "<html><head></head><body><div></div><script>\n"
        f"    var metric_1a = {json.dumps(data)};\n    var additional_graphs_metric_1a = {{}};\n"
        "</script></body></html>"
    )


def test_title_and_lines_are_shown_as_text():
    page = dress(evidently_page({}), title="Moved <far>?", lines=["1 & 2"])
    assert "<title>Moved &lt;far&gt;?</title>" in page
    assert "1 &amp; 2" in page
    assert page.index("<body>") < page.index("<header") < page.index("<div>")


def test_second_copies_and_unused_styles_go_and_numbers_keep_five_digits():
    graph = {"template": {"data": {"pie": 1}, "layout": {"font": 2}}, "y": [0.123456789, 7]}
    page = dress(evidently_page({"graph": graph, "additionalGraphs": [graph]}), title="t", lines=[])
    data = json.loads(re.search(r"var metric_1a = (.*);", page)[1])
    assert data == {"graph": {"template": {"layout": {"font": 2}}, "y": [0.12346, 7]}, "additionalGraphs": []}


def test_a_name_with_a_closing_tag_does_not_end_the_script():
    page = dress(evidently_page({"name": "</script>"}), title="t", lines=[])
    assert page.count("</script>") == 1


@pytest.mark.parametrize("page", ["<html><body></body></html>", evidently_page({}).replace("<body>", "")])
def test_a_page_of_another_format_is_refused_with_what_to_do(page):
    with pytest.raises(ReportFormatError, match="pin the tested version"):
        dress(page, title="t", lines=[])
