"""Turns Evidently's page into one for our readers: a title, a plain-language header, and half the bytes."""

import html
import json
import re
from typing import Any

_ASSIGNMENT = re.compile(r"^(\s*var (?:additional_graphs_)?metric_\w+ = )(\{.*\});$", re.MULTILINE)

# Its own dark card, because Evidently's page below switches between light and dark by itself.
_STYLE = (
    "margin:16px 24px 0;padding:20px 24px;border-radius:12px;background:#14213d;color:#f4f6fb;"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif"
)


class ReportFormatError(RuntimeError):
    """Evidently's page does not look as it did in the pinned version."""


def dress(page: str, *, title: str, lines: list[str]) -> str:
    """Return Evidently's HTML with `title`, a header of `lines` (plain text, escaped) and slimmer data.

    Raises ReportFormatError when the page has no body or no data block, as after an upgrade of Evidently.
    """
    slim, blocks = _ASSIGNMENT.subn(lambda match: match[1] + _slim(match[2]) + ";", page)
    head, body, rest = slim.partition("<body>")
    if not body or blocks == 0:
        raise ReportFormatError(
            f"Evidently's page has {blocks} data blocks and {'a' if body else 'no'} <body>, not as tested: "
            "pin the tested version or adapt monitoring/report_page.py"
        )
    return head.replace("</head>", f"<title>{html.escape(title)}</title></head>") + body + _header(title, lines) + rest


def _header(title: str, lines: list[str]) -> str:
    paragraphs = "".join(f'<p style="margin:6px 0 0">{html.escape(line)}</p>' for line in lines)
    back = '<a href="index.html" style="color:#9ec5ff">← all reports</a>'
    heading = f'<h1 style="margin:4px 0 0;font-size:26px;line-height:1.2">{html.escape(title)}</h1>'
    return f'<header style="{_STYLE}">{back}{heading}{paragraphs}</header>'


def _slim(data: str) -> str:
    text = json.dumps(_rounded(json.loads(data)), separators=(",", ":"))
    # A name that contains a closing tag must not end the script.
    return text.replace("</", "<\\/")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: _rounded(_needed(key, item)) for key, item in value.items()}
    return value


def _needed(key: str, item: Any) -> Any:
    """Leave out what no reader sees, which is most of the data."""
    if key == "additionalGraphs":
        return []  # a second copy of every graph; the viewer reads the one of the other block
    if key == "template" and isinstance(item, dict):
        return {"layout": item.get("layout", {})}  # without the styles of thirty chart types that are not drawn
    return item
