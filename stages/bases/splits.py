"""Splits as the listing of a data set states them, for checks before any image is opened."""

from collections.abc import Collection

from pipeline.base.errors import UsageError
from pipeline.store.records import Inputs, Upstream
from schemas.types import HELD_OUT

__all__ = ["BOXED", "COUNTED", "boxed_splits", "check_any_split", "check_trained", "class_names", "splits_of"]

BOXED = "boxed"
"""Argument of a shard of images: split -> number of images with ground-truth boxes, by the listing."""

COUNTED = HELD_OUT
"""The splits whose score maps are swept over all thresholds by default: those not trained on."""

_FROM_LISTING = "truth"
"""The kind of stage whose ground truth comes from the listing."""


def splits_of(upstream: Upstream) -> frozenset[str] | None:
    """The splits of a stage's rows; None where a shard does not state its splits."""
    if not all(shard.labels for shard in upstream.shards):
        return None
    return frozenset(split for shard in upstream.shards for split in shard.labels)


def class_names(images: Upstream) -> frozenset[str]:
    """The names of the classes that have an image."""
    return frozenset(name for shard in images.shards for counts in shard.labels.values() for name in counts)


def boxed_splits(inputs: Inputs) -> frozenset[str] | None:
    """The splits with ground-truth boxes in the inputs `images` and `truth`; None where unknown."""
    (images,), (truth,) = inputs["images"], inputs["truth"]
    said = [shard.args.get(BOXED) for shard in images.shards]
    if truth.recipe.kind != _FROM_LISTING or not all(isinstance(counts, dict) for counts in said):
        return None
    return frozenset(split for counts in said if isinstance(counts, dict) for split in counts)


def check_any_split(stage: str, wanted: Collection[str], upstream: Upstream) -> None:
    """Refuse an upstream stage that has no row of the wanted splits. Raises UsageError."""
    there = splits_of(upstream)
    if there is not None and not there & set(wanted):
        have = f"{upstream.name} has {', '.join(sorted(there)) or 'no image'}"
        raise UsageError(f"stage {stage}: no image is of split {' or '.join(wanted)}: {have}")


def check_trained(stage: str, images: Upstream) -> None:
    """Refuse images of which none is of split train. Raises UsageError."""
    check_any_split(stage, ("train",), images)
