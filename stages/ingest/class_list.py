"""Predefined lists of classes, which include classes without an image in the data set."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.base.errors import UsageError
from stages.ingest.reader import ClassNames
from stages.ingest.scan import Scan
from stages.vision.imagenet_classes import imagenet_wnids

__all__ = ["class_list", "with_classes"]


def class_list(name: ClassNames) -> Sequence[str]:
    """All classes of a list, in the order of their labels."""
    return {"imagenet": imagenet_wnids}[name]()


def with_classes(scan: Scan, name: ClassNames | None) -> Scan:
    """A scan whose labels are indices into a list of classes. Raises UsageError for a class that is not in it."""
    if name is None:
        return scan
    classes = class_list(name)
    unknown = sorted(set(scan.classes) - set(classes))
    if unknown:
        raise UsageError(f"dataset: classes: {name}: class {unknown[0]!r} is none of its {len(classes)}")
    return replace(scan, classes=classes)
