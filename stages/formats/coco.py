"""COCO: one JSON file per split, with boxes, masks and their true areas.

What a reader may rely on:

- Ids are unique over all files of one export, so files can be concatenated: an image's id is its index among all
  `image_id`s in sorted order, from 1; annotations are numbered from 1 in the order of the run's shards.
- Every image listed has at least one annotation. All images carry a class label, so an image without a box would tell
  a detector, wrongly, that nothing is there; such images are left out and counted in `info`.
- Coordinates are the stored float32 numbers, written as doubles from which x, y, x + w and y + h come back exactly.
- `file_name` is the image id, or the picture's own name where pictures are exported too.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby

from stages.formats.contract import Content, File, Joined, Made, Piece, Pieces, Read
from stages.formats.entries import Entry, Picture
from stages.formats.polygons import borders
from stages.vision import boxes, masks

__all__ = ["Coco"]


class Coco:
    """Instances JSON. outlines: rle or polygon; None: no masks. folder: whether pictures lie in a folder beside it."""

    def __init__(self, outlines: str | None, folder: bool) -> None:
        self._outlines, self._folder = outlines, folder

    def part(self, number: int, entries: Sequence[Entry], first: int, read: Read) -> Iterator[Made]:
        """Two pieces per split, its images and its annotations, and the pictures where they are exported."""
        images: dict[str, list[object]] = {}
        annotations: dict[str, list[object]] = {}
        for picture, own in groupby(entries, key=lambda entry: entry.picture):
            images.setdefault(picture.split, []).append(self._image(picture))
            for entry in own:
                made = annotations.setdefault(picture.split, [])
                for place in range(len(entry.boxes)):
                    first += 1
                    made.append(self._annotation(entry, place, first))
            if self._folder:
                yield File(f"{picture.split}/{picture.name}{picture.suffix}", picture)
        for split, records in images.items():
            yield Piece(f"images_{split}", _list(records))
            yield Piece(f"annotations_{split}", _list(annotations[split]))

    def closing(self, content: Content) -> Iterator[File | Joined]:
        """One document per split."""
        categories = [
            {"id": number, "name": name, "supercategory": ""} for number, name in enumerate(content.classes, start=1)
        ]
        for split, members in content.counts.images.items():
            info = {
                **content.lineage,
                "description": content.description,
                "split": split,
                "flagged_labels_left_out": content.counts.flagged.get(split, {}),
                "images_without_annotation_left_out": content.counts.without.get(split, 0),
            }
            if members or info["images_without_annotation_left_out"]:
                yield Joined(
                    f"coco_{split}.json",
                    [
                        b'{"annotations":[',
                        Pieces(f"annotations_{split}", b","),
                        b'],"categories":' + _dumped(categories) + b',"images":[',
                        Pieces(f"images_{split}", b","),
                        b'],"info":' + _dumped(info) + b',"licenses":[]}',
                    ],
                )

    def _image(self, picture: Picture) -> dict[str, object]:
        name = f"{picture.split}/{picture.name}{picture.suffix}" if self._folder else picture.image_id
        own = {"id": picture.number, "file_name": name, "width": picture.width, "height": picture.height}
        return {**own, "image_id": picture.image_id} if self._folder else own

    def _annotation(self, entry: Entry, place: int, number: int) -> dict[str, object]:
        box, rle = entry.boxes[place], None if entry.masks is None else entry.masks[place]
        return {
            "area": float(boxes.area(box)) if rle is None else masks.area(rle),
            "bbox": boxes.xyxy_to_xywh(box).tolist(),
            "category_id": entry.category + 1,
            "id": number,
            "image_id": entry.picture.number,
            "iscrowd": 0,
            "score": entry.scores[place],
            "segmentation": self._segmentation(rle),
        }

    def _segmentation(self, rle: masks.Rle | None) -> object:
        if rle is None or self._outlines is None:
            return []
        if self._outlines == "polygon":
            return [outline.ravel().tolist() for outline in borders(masks.decode(rle))]
        return {"counts": rle["counts"], "size": rle["size"]}


def _list(records: Sequence[object]) -> bytes:
    """The records of a JSON list, without its brackets."""
    return _dumped(records)[1:-1]


def _dumped(said: object) -> bytes:
    return json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
