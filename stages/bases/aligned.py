"""Shared base of `arm` and `sgrm`: image and map at one size, and seeds of the class that orient the map."""

from dataclasses import dataclass
from typing import TypeVar

from pipeline.base.errors import UsageError
from pipeline.base.params import option, reads
from stages.bases.refinement import RefinementParams, RefinementStage

__all__ = ["AlignedParams", "AlignedStage"]


@dataclass(frozen=True)
class AlignedParams(RefinementParams):
    """Parameters of `arm` and `sgrm`."""

    seeds: str | None = reads(
        "score_maps", None, "score maps of the class that decide which side of a map is object; null: the high side"
    )
    beta: float = option(0.6, "seeds are the pixels where the min-maxed map of `seeds` is above beta")
    size: int = option(224, "side of the square to which image and map are resized, pixels", at_least=8)
    batch_size: int = option(16, "images at once", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)


A = TypeVar("A", bound=AlignedParams, covariant=True)


class AlignedStage(RefinementStage[A]):
    """A refinement at one working size."""

    def check(self) -> None:
        """Refuse a beta outside of [0, 1): every min-maxed map, or none, would have seeds."""
        super().check()
        if not 0 <= self.params.beta < 1:
            raise UsageError(f"stage {self.name}: beta must be in [0, 1), got {self.params.beta}")
