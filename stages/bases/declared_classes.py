"""The classes of a data set that names a list of them, of which some may have no image."""

from collections.abc import Sequence

from pipeline.store.records import Upstream
from stages.vision.imagenet_classes import imagenet_wnids

__all__ = ["DECLARED", "classes_of", "declared_list"]

DECLARED = "classes"
"""Parameter of a data set, and what a training is told of it."""


def declared_list(images: Upstream) -> str | None:
    """The name of the list that the data set behind some images names; None where it names none."""
    name = images.recipe.params.get(DECLARED)
    if isinstance(name, str):
        return name
    return next((found for each in images.inputs.get("images", ()) if (found := declared_list(each))), None)


def classes_of(name: object) -> Sequence[str] | None:
    """All classes of a list by label; None for no list."""
    return imagenet_wnids() if name == "imagenet" else None
