"""Checks for stages that read images together with their ground truth or groups of equal pictures."""

from pipeline.base.errors import UsageError
from pipeline.store.records import Inputs, Upstream

__all__ = ["check_of_same_images", "check_truth", "source_names"]


def check_truth(stage: str, inputs: Inputs) -> None:
    """Refuse ground truth of another data set than the images'. Raises UsageError."""
    check_of_same_images(stage, inputs, "truth")


def check_of_same_images(stage: str, inputs: Inputs, slot: str) -> None:
    """Refuse a `truth` or `duplicates` of another data set than the images'. Raises UsageError."""
    (images,) = inputs["images"]
    for said in inputs[slot]:
        of = source_names(said)
        if of and not {images.name, *source_names(images)} & set(of):
            how = f"add a stage {{stage: {slot}, images: {images.name}}} and name it"
            raise UsageError(f"stage {stage}: {slot} {said.name!r} is that of {of[0]!r}, not of {images.name!r}: {how}")


def source_names(upstream: Upstream) -> list[str]:
    """Names of the stages whose images a stage reads; empty for a stage that lists a data set."""
    return [each.name for each in upstream.inputs.get("images", ())]
