"""What stages share that read images and their ground truth."""

from pipeline.base.errors import UsageError
from pipeline.store.records import Inputs

__all__ = ["check_truth"]


def check_truth(stage: str, inputs: Inputs) -> None:
    """Refuse the ground truth of another data set than that of the images. Raises UsageError."""
    (images,), (truth,) = inputs["images"], inputs["truth"]
    of = [upstream.name for upstream in truth.inputs.get("images", ())]
    if of and images.name not in of:
        how = f"add a stage {{stage: truth, images: {images.name}}} and name it"
        raise UsageError(f"stage {stage}: truth {truth.name!r} is that of {of[0]!r}, not of {images.name!r}: {how}")
