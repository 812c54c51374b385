"""Parameters of stage `deduplicate`, which a data set has where `dataset: duplicates` is not `keep`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads

__all__ = ["DeduplicateParams"]


@dataclass(frozen=True)
class DeduplicateParams:
    """Parameters of `deduplicate`."""

    images: str = reads("images", "ingest", "stage that listed the data set")
    duplicates: str = reads("duplicates", "duplicates", "groups of its equal pictures, and what becomes of them")
    title: str = option("", "display name of the data set", resource=True)
