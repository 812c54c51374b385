"""Label Studio: tasks with predictions, which a person accepts or corrects. One JSON file per split.

`data.image` is the path or URI of the picture; Label Studio must serve the folder of local ones. Boxes are in percent
of the picture as shown. Outlines are polygons, one per connected piece.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from xml.sax.saxutils import quoteattr

import numpy as np

from stages.formats.contract import Content, File, Joined, Made, Piece, Pieces, Read
from stages.formats.entries import Entry, Picture
from stages.formats.polygons import borders
from stages.vision import masks

__all__ = ["LabelStudio"]


class LabelStudio:
    """Tasks to import. folder: whether pictures lie beside the file. outlined: whether boxes have polygons."""

    def __init__(self, folder: bool, outlined: bool) -> None:
        self._folder, self._outlined = folder, outlined

    def part(self, number: int, entries: Sequence[Entry], first: int, read: Read) -> Iterator[Made]:
        """One task per image."""
        tasks: dict[str, list[dict[str, object]]] = {}
        for picture, own in groupby(entries, key=lambda entry: entry.picture):
            place = f"images/{picture.name}{picture.suffix}" if self._folder else picture.uri
            predictions = [self._prediction(entry) for entry in own]
            data = {"image": place, "image_id": picture.image_id, "class": picture.class_name}
            tasks.setdefault(picture.split, []).append({"data": data, "predictions": predictions})
            if self._folder:
                yield File(place, picture)
        for split, own_tasks in tasks.items():
            yield Piece(
                split, json.dumps(own_tasks, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()[1:-1]
            )

    def closing(self, content: Content) -> Iterator[File | Joined]:
        """The tasks of each split, and the labelling interface that they need."""
        for split, images in content.counts.images.items():
            if images:
                yield Joined(f"tasks_{split}.json", [b"[", Pieces(split, b","), b"]"])
        yield File("interface.xml", _interface(content.classes, self._outlined))

    def _prediction(self, entry: Entry) -> dict[str, object]:
        shown = [self._box(entry, place) for place in range(len(entry.boxes))]
        if self._outlined and entry.masks is not None:
            shown += [
                _polygon(entry, rle, place, outline)
                for place, rle in enumerate(entry.masks)
                for outline in borders(masks.decode(rle))
            ]
        score = max(entry.scores, default=0.0)
        return {"model_version": f"weakbox {entry.source} ({entry.method})", "score": score, "result": shown}

    def _box(self, entry: Entry, place: int) -> dict[str, object]:
        picture, (x0, y0, x1, y1) = entry.picture, entry.boxes[place]
        value = {
            "x": 100 * x0 / picture.width,
            "y": 100 * y0 / picture.height,
            "width": 100 * (x1 - x0) / picture.width,
            "height": 100 * (y1 - y0) / picture.height,
            "rotation": 0,
            "rectanglelabels": [entry.class_name],
        }
        return _result(picture, f"box{place}", "rectanglelabels", "box", value, entry.scores[place])


def _polygon(entry: Entry, rle: masks.Rle, place: int, outline: np.ndarray) -> dict[str, object]:
    picture = entry.picture
    points = [[100 * x / picture.width, 100 * y / picture.height] for x, y in outline.tolist()]
    value = {"points": points, "closed": True, "polygonlabels": [entry.class_name]}
    name = f"outline{place}_{int(outline[0, 0])}_{int(outline[0, 1])}"
    return _result(picture, name, "polygonlabels", "outline", value, entry.scores[place])


def _result(
    picture: Picture, name: str, kind: str, control: str, value: Mapping[str, object], score: float
) -> dict[str, object]:
    return {
        "id": name,
        "type": kind,
        "from_name": control,
        "to_name": "image",
        "original_width": picture.width,
        "original_height": picture.height,
        "image_rotation": 0,
        "value": value,
        "score": score,
    }


def _interface(classes: Sequence[str], outlined: bool) -> bytes:
    labels = "".join(f"<Label value={quoteattr(name)}/>" for name in classes)
    controls = [("RectangleLabels", "box"), *([("PolygonLabels", "outline")] if outlined else [])]
    body = "".join(f'<{kind} name="{name}" toName="image">{labels}</{kind}>' for kind, name in controls)
    return f'<View><Image name="image" value="$image"/>{body}</View>\n'.encode()
