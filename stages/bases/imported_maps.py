"""What the recipe of imported score maps says of them to those that count or write them."""

from collections.abc import Mapping

from pipeline.base.json_types import Json
from pipeline.store.records import Recipe

__all__ = ["AS_IS", "FRAME", "said_of_frame"]

FRAME, AS_IS = "frame", "as_is"
"""The parameter of a stage of maps, and its value where maps of the evaluator's own size are counted as they are."""


def said_of_frame(maps: Recipe) -> Mapping[str, Json]:
    """What stages that read maps tell their workers of them: `FRAME` where their stage says it."""
    return {FRAME: maps.params[FRAME]} if FRAME in maps.params else {}
