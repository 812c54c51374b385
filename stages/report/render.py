"""Lays a page out as one HTML file: no scripts, no requests, everything inline."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.report.data import Page

__all__ = ["render"]

_TEMPLATES = Path(__file__).parent / "templates"
_MANY = 200


def render(page: Page) -> str:
    """The page as HTML; every text is escaped, and the same page gives the same text."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fixed"] = _fixed
    return environment.get_template("report.html.j2").render(page=page, many=_MANY)


def _fixed(value: float | None, digits: int = 1) -> str:
    """A number with a fixed number of decimals; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"
