"""Parsing the texts of a data set's annotations; an error is one line that names the record."""

import json
import math
from collections.abc import Callable

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json

__all__ = ["finite", "parse_json"]


def parse_json(
    text: str | bytes, where: str, object_hook: Callable[[dict[str, Json]], dict[str, Json]] | None = None
) -> Json:
    """A JSON text as plain values. where: what the error starts with. object_hook: as of `json.loads`.

    Raises: UsageError for a text that is not JSON, or is nested too deep.
    """
    try:
        said: Json = json.loads(text, object_hook=object_hook)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: no JSON: {error}") from error
    return said


def finite(text: str, name: str, where: str) -> float:
    """A text as a number. name: what it is, for the error. Raises UsageError for no number, NaN or an infinity."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{where}: {name} must be a number, not {text!r:.40}")
    return number
