"""COCO: one JSON file a split, with boxes, run-length encoded masks and their true areas.

What a reader may rely on:

- Ids are unique over all files of one export, so files can be concatenated: an image's id is its place among all
  `image_id`s in sorted order, from 1; annotations are numbered from 1 in the order of image, method and box.
- Every image listed has at least one annotation. All images carry a class label, so an image without a box would tell
  a detector, wrongly, that nothing is there; such images are left out and counted in `info`.
- Coordinates are the stored float32 numbers, written as doubles from which x, y, x + w and y + h come back exactly.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages.vision import boxes, masks

__all__ = ["documents", "files"]

Row = Mapping[str, Any]


def files(
    images: Sequence[Row], rows: Sequence[Row], *, splits: Sequence[str], keep_flagged: bool, description: str
) -> dict[str, bytes]:
    """Write the documents as ``coco_<split>.json``; same input, same bytes. Arguments as for `documents`."""
    made = documents(images, rows, splits=splits, keep_flagged=keep_flagged, description=description)
    return {
        f"coco_{split}.json": json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        for split, document in made.items()
    }


def documents(
    images: Sequence[Row], rows: Sequence[Row], *, splits: Sequence[str], keep_flagged: bool, description: str
) -> dict[str, dict[str, Any]]:
    """Build one COCO document for each of `splits` that has images.

    images: rows of the images table (image_id, label, label_name, split, width, height).
    rows: rows of pseudo_labels (image_id, label, method, boxes, masks, flag), or of predictions, which have neither
    masks nor flags. An annotation's category is the row's label: the known class of its image.
    keep_flagged: also export rows with a flag, whose box is a fallback.
    """
    categories = _categories(images)
    ids = {image_id: number for number, image_id in enumerate(sorted(image["image_id"] for image in images), start=1)}
    left_out = [row for row in rows if row.get("flag") is not None and not keep_flagged]
    kept = [row for row in rows if row.get("flag") is None or keep_flagged]
    annotations: dict[str, list[dict[str, Any]]] = {}
    for number, (row, annotation) in enumerate(_annotations(kept, ids), start=1):
        entry = {"id": number, "category_id": categories[row["label"]]["id"], **annotation}
        annotations.setdefault(row["image_id"], []).append(entry)

    result = {}
    for split in splits:
        members = {image["image_id"]: image for image in images if image["split"] == split}
        listed = [image_id for image_id in sorted(members) if image_id in annotations]
        info = {
            "description": description,
            "split": split,
            "flagged_labels_left_out": dict(Counter(row["flag"] for row in left_out if row["image_id"] in members)),
            "images_without_annotation_left_out": len(members) - len(listed),
        }
        if members:
            result[split] = {
                "info": info,
                "licenses": [],
                "categories": list(categories.values()),
                "images": [_image(members[image_id], ids) for image_id in listed],
                "annotations": [entry for image_id in listed for entry in annotations[image_id]],
            }
    return result


def _categories(images: Sequence[Row]) -> dict[int, dict[str, Any]]:
    """Label -> category; category ids count from 1 in the order of the labels."""
    names = {image["label"]: image["label_name"] for image in images}
    return {
        label: {"id": number, "name": names[label], "supercategory": ""}
        for number, label in enumerate(sorted(names), start=1)
    }


def _image(image: Row, ids: Mapping[str, int]) -> dict[str, Any]:
    image_id = image["image_id"]
    return {"id": ids[image_id], "file_name": image_id, "width": image["width"], "height": image["height"]}


def _annotations(rows: Sequence[Row], ids: Mapping[str, int]) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Every box of every row in a fixed order, with the fields that the row alone decides."""
    for row in sorted(rows, key=lambda row: (row["image_id"], row["method"], row["label"])):
        found = row["boxes"] or []
        rles = row.get("masks") or [None] * len(found)
        for box, rle in zip(found, rles, strict=True):
            corners = [box[corner] for corner in ("x0", "y0", "x1", "y1")]
            yield (
                row,
                {
                    "image_id": ids[row["image_id"]],
                    "bbox": boxes.xyxy_to_xywh(corners).tolist(),
                    "area": float(boxes.area(corners)) if rle is None else masks.area(rle),
                    "segmentation": [] if rle is None else {"size": rle["size"], "counts": rle["counts"]},
                    "iscrowd": 0,
                    "score": box["score"],
                },
            )
