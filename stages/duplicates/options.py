"""What a stage `duplicates` may be told. That of the data set itself has it from `dataset: duplicates`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads
from stages.bases.duplicate_groups import DuplicatePolicy

__all__ = ["DuplicatesParams"]


@dataclass(frozen=True)
class DuplicatesParams:
    """Parameters of `duplicates`."""

    images: str = reads("images", "ingest", "stage that listed the data set")
    hashes: str | None = reads("perceptual_hashes", None, "perceptual hashes of the images: near groups are found, too")
    policy: DuplicatePolicy = option(
        "keep",
        "what becomes of a group: keep; one_split: all in its most held-out split (test, val, dev, train); drop: its"
        " first image there alone, and none of pictures under several classes",
    )
