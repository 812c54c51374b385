"""Settings of the head's fit, and its limit of memory; without torch."""

from collections.abc import Sequence

__all__ = ["FEATURE_BYTES", "FOLDS", "STRENGTHS", "UNCHOSEN_STRENGTH", "check_classes", "check_feature_memory"]

FOLDS = 5
"""The most folds of the cross-validation."""

STRENGTHS = tuple(10.0**power for power in range(-5, 4))
"""Inverse weights of the L2 term that are tried, the strongest regularisation first, on standardised features."""

UNCHOSEN_STRENGTH = 1.0
"""The strength where images are too few to choose: scikit-learn's default, and what was chosen for imagenet-6."""

FEATURE_BYTES = 4 * 2**30
"""The most that the features of all training images may take; fitting takes as much again."""


def check_feature_memory(images: int, width: int) -> None:
    """Refuse float32 features larger than `FEATURE_BYTES`. Raises ValueError that says their size."""
    size = 4 * images * width
    if size > FEATURE_BYTES:
        raise ValueError(
            f"train: head holds the features of all training images in memory, and {images} x {width} numbers are "
            f"{size / 2**30:.1f} GiB, more than {FEATURE_BYTES / 2**30:g}: train last_block, or give it fewer images"
        )


def check_classes(classes: Sequence[str]) -> None:
    """Refuse a head for training images of fewer than two classes. Raises ValueError that names the only class."""
    if len(classes) < 2:
        raise ValueError(
            f"train: head tells classes apart, and all training images are of one, {', '.join(map(repr, classes))}: "
            "epochs: 0 takes the weights as they are"
        )
