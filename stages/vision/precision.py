"""Numeric precisions of networks, by name."""

from collections.abc import Mapping
from typing import Literal

__all__ = ["InferencePrecision", "Precision", "precision_ingredients"]

Precision = Literal["float32", "bfloat16"]
"""Precisions of training."""

InferencePrecision = Literal["float32", "bfloat16", "float16"]
"""Precisions of maps and predictions."""


def precision_ingredients(precision: InferencePrecision) -> Mapping[str, str]:
    """Ingredients that a precision adds to the recipe of a stage.

    Folding batch normalizations (`stages.vision.folding`) changes results in float32 negligibly, but in 16 bits it
    changes the values that are rounded.
    """
    return {} if precision == "float32" else {"batch_norm": "folded"}
