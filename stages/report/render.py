"""Renders a page as one HTML file: everything inline, no requests, and one script, allowed by its hash."""

import base64
import hashlib
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
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    template = environment.get_template("report.html.j2")
    return template.render(page=page, many=_MANY, script=script, script_hash=f"sha256-{digest}")


def _fixed(value: float | None, digits: int = 1) -> str:
    """A number with a fixed number of decimals; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"
