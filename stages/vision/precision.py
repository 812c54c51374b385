"""What numbers networks compute in, by name."""

from collections.abc import Mapping
from typing import Literal

__all__ = ["InferencePrecision", "Precision", "precision_ingredients"]

Precision = Literal["float32", "bfloat16"]
"""What networks are trained in."""

InferencePrecision = Literal["float32", "bfloat16", "float16"]
"""What maps and predictions are made in."""


def precision_ingredients(precision: InferencePrecision) -> Mapping[str, str]:
    """What else the results of a stage of this precision depend on, for its recipe.

    Folding batch normalisations (`stages.vision.folding`) moves results of float32 by nothing that counts, but changes
    what 16-bit ones are rounded from.
    """
    return {} if precision == "float32" else {"batch_norm": "folded"}
