"""What `arm` and `sgrm` share: image and map at one size, and the class's seeds that say which side is object."""

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
        "score_maps", None, "score maps of the class that decide which side of a map is object; null: its high side is"
    )
    beta: float = option(0.6, "seeds are where the min-maxed map of `seeds` is above it")
    size: int = option(224, "side of the square to which image and map are brought, pixels", at_least=8)
    batch_size: int = option(16, "images at once", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)


A = TypeVar("A", bound=AlignedParams, covariant=True)


class AlignedStage(RefinementStage[A]):
    """A refinement at one working size."""

    def check(self) -> None:
        """Refuse a beta above which no min-maxed map has a seed, or below which none lacks one."""
        super().check()
        if not 0 <= self.params.beta < 1:
            raise UsageError(f"stage {self.name}: beta must be in [0, 1), got {self.params.beta}")
