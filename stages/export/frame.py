"""Boxes and masks in the frame that viewers show: what a data set is read by turns photographs as EXIF says."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stages.vision import masks
from stages.vision.exif_frame import displayed_boxes, displayed_mask, displayed_size

__all__ = ["displayed_images", "displayed_rows"]

Row = Mapping[str, Any]
_CORNERS = ("x0", "y0", "x1", "y1")


def displayed_images(images: Iterable[Row]) -> list[Row]:
    """Rows of the images table, width and height as they are shown."""
    return [_image(row) for row in images]


def displayed_rows(images: Iterable[Row], rows: Iterable[Row]) -> list[Row]:
    """Rows with boxes, and masks where they have some, in the frames of their images as they are shown.

    images: rows of the images table as it is, not those of `displayed_images`.
    """
    turned = {row["image_id"]: row for row in images if _turn(row) != 1}
    return [_row(row, turned[row["image_id"]]) if row["image_id"] in turned else row for row in rows]


def _turn(image: Row) -> int:
    """The orientation that is still to be applied: none where images were used as they are shown."""
    return 1 if image["turned"] else image["orientation"] or 1


def _image(row: Row) -> Row:
    width, height = displayed_size(row["width"], row["height"], _turn(row))
    return {**row, "width": width, "height": height}


def _row(row: Row, image: Row) -> Row:
    turn = _turn(image)
    corners = [[box[corner] for corner in _CORNERS] for box in row["boxes"] or ()]
    shown = displayed_boxes(corners, image["width"], image["height"], turn).tolist()
    boxes = [
        {**box, **dict(zip(_CORNERS, own, strict=True))} for box, own in zip(row["boxes"] or (), shown, strict=True)
    ]
    rles: Sequence[masks.Rle] | None = row.get("masks")
    turned = None if rles is None else [masks.encode(displayed_mask(masks.decode(rle), turn)) for rle in rles]
    return {**row, "boxes": boxes, **({"masks": turned} if "masks" in row else {})}
