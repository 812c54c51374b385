"""Rows of the images table as workers use them, and the columns that every per-image table repeats."""

from collections.abc import Iterable
from typing import TypedDict, TypeVar

__all__ = [
    "IMAGE_COLUMNS",
    "PREDICTED",
    "Carried",
    "ImageRow",
    "by_id",
    "carried",
    "is_of_predicted",
    "map_method",
    "refined_method",
]


class ImageRow(TypedDict):
    """The columns of an image that workers need, without ground truth; described column by column in schemas."""

    image_id: str
    uri: str
    offset: int | None
    length: int | None
    row: int | None
    turned: bool | None
    lenient: bool | None
    width: int
    height: int
    label: int
    label_name: str
    split: str
    content_hash: str | None


IMAGE_COLUMNS = tuple(ImageRow.__annotations__)

PREDICTED = "predicted"
"""Suffix of a method's name whose maps and boxes are of the predicted class, not of the image's own."""

Image = TypeVar("Image", bound=ImageRow)


class Carried(TypedDict):
    """The columns of an image that every per-image table repeats."""

    image_id: str
    label: int
    split: str
    image_height: int
    image_width: int


def carried(row: ImageRow) -> Carried:
    """The columns of an image that every per-image table repeats."""
    return {
        "image_id": row["image_id"],
        "label": row["label"],
        "split": row["split"],
        "image_height": row["height"],
        "image_width": row["width"],
    }


def map_method(method: str, classes: str) -> str:
    """The method's name in tables, with a suffix for maps of the predicted class (`classes` is predicted)."""
    return f"{method}_{PREDICTED}" if classes == PREDICTED else method


def is_of_predicted(method: str) -> bool:
    """Whether a method's maps and boxes are of the predicted class."""
    return method == PREDICTED or method.endswith(f"_{PREDICTED}")


def refined_method(method: str, kind: str, name: str | None = None) -> str:
    """The method's name of refined maps: `name` or `<method>_<kind>`, with the suffix for the predicted class kept."""
    refined = name or f"{method.removesuffix(f'_{PREDICTED}')}_{kind}"
    return map_method(refined, PREDICTED if is_of_predicted(method) else "")


def by_id(rows: Iterable[Image]) -> list[Image]:
    """Rows in the order of their image ids, so that the order does not depend on the sharding."""
    return sorted(rows, key=lambda row: row["image_id"])
