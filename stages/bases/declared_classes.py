"""The class list that a data set declares by name; some of its classes may have no image."""

from collections.abc import Sequence

from pipeline.store.records import Upstream
from stages.vision.imagenet_classes import imagenet_wnids

__all__ = ["DECLARED", "classes_of", "declared_list"]

DECLARED = "classes"
"""Name of the data set's parameter, and of the entry of a training's payload that repeats it."""


def declared_list(images: Upstream) -> str | None:
    """Name of the class list that the data set behind some images declares; None without one."""
    name = images.recipe.params.get(DECLARED)
    if isinstance(name, str):
        return name
    return next((found for each in images.inputs.get("images", ()) if (found := declared_list(each))), None)


def classes_of(name: object) -> Sequence[str] | None:
    """All classes of a named list, in the order of labels; None without a list."""
    return imagenet_wnids() if name == "imagenet" else None
