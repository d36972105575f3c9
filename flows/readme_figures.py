"""Writes the figures of a demo run into the README, so that none of them is typed by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.console import SCORE_COLUMNS, score_rows

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def write_figures(readme: Path, *, metrics: Mapping[str, float], facts: Sequence[str]) -> None:
    """Replace what stands between the markers by a table of scores and a list of facts; ValueError without markers."""
    text = readme.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{readme}: no lines {BEGIN} and {END} to write between")
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    table = [
        "| " + " | ".join(SCORE_COLUMNS) + " |",
        "|---|" + "---:|" * (len(SCORE_COLUMNS) - 1),
        *("| " + " | ".join(row) + " |" for row in score_rows(metrics)),
    ]
    block = "\n".join([BEGIN, *table, "", *(f"* {fact}" for fact in facts), END])
    readme.write_text(before + block + after)
