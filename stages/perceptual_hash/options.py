"""Parameters of stage `perceptual_hash`, which a data set has with `dataset: near_duplicates: true`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads

__all__ = ["PerceptualHashParams"]


@dataclass(frozen=True)
class PerceptualHashParams:
    """Parameters of `perceptual_hash`."""

    images: str = reads("images", "ingest", "the images")
    batch_size: int = option(64, "images decoded at once", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)
