"""Parameters of stage `duplicates`; that of a data set takes its policy from `dataset: duplicates`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads
from stages.bases.duplicate_groups import DuplicatePolicy

__all__ = ["DuplicatesParams"]


@dataclass(frozen=True)
class DuplicatesParams:
    """Parameters of `duplicates`."""

    images: str = reads("images", "ingest", "stage that listed the data set")
    hashes: str | None = reads("perceptual_hashes", None, "perceptual hashes of the images, to find near groups, too")
    policy: DuplicatePolicy = option(
        "keep",
        "what becomes of a group: keep; one_split: move all to its most held-out split (test, val, dev, train); drop:"
        " keep only the first image of that split, or none if classes differ",
    )
