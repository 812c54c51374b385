"""What numbers networks compute in, by name."""

from collections.abc import Mapping, Sequence
from typing import Literal

__all__ = ["BFLOAT16_AGREES", "InferencePrecision", "Precision", "precision_ingredients"]

Precision = Literal["float32", "bfloat16"]
"""What networks are trained in."""

InferencePrecision = Literal["float32", "bfloat16", "float16", "auto"]
"""What maps and predictions are made in; `auto` is bfloat16 for `BFLOAT16_AGREES`, float32 for all others."""

BFLOAT16_AGREES: frozenset[str] = frozenset()
"""Backbones whose boxes were measured to agree in bfloat16 and float32, see docs/backbones.md."""


def precision_ingredients(precision: InferencePrecision) -> Mapping[str, Sequence[str]]:
    """What else the results of a stage of this precision depend on, for its recipe."""
    return {"bfloat16": sorted(BFLOAT16_AGREES)} if precision == "auto" else {}
