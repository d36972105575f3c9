"""The platform's own HTML pages: one look, carried inside, so that a page is one file that stands alone."""

from functools import cache
from pathlib import Path
from typing import Any


def render_page(template: Path, **values: Any) -> str:
    """The page of a Jinja template; `style` in it is the common stylesheet, a value that is missing is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template.name).render(style=_style(), **values)


@cache
def _style() -> str:
    return Path(__file__).with_name("page.css").read_text()
