"""The frame of imported score maps: stages that sweep or write maps read it from the recipe."""

from collections.abc import Mapping

from pipeline.base.json_types import Json
from pipeline.store.records import Recipe

__all__ = ["AS_IS", "FRAME", "said_of_frame"]

FRAME, AS_IS = "frame", "as_is"
"""Name of the parameter, and its value for which maps of the evaluator's own size are swept unchanged."""


def said_of_frame(maps: Recipe) -> Mapping[str, Json]:
    """What a stage passes on to its workers about its maps: `FRAME` if their recipe has it."""
    return {FRAME: maps.params[FRAME]} if FRAME in maps.params else {}
