"""Parameters of stage `truth`, which every data set has without being asked for."""

from dataclasses import dataclass

from pipeline.base.params import reads

__all__ = ["TruthParams"]


@dataclass(frozen=True)
class TruthParams:
    """Parameters of `truth`."""

    images: str = reads("images", "ingest", "stage that listed the data set with its annotations")
