"""YOLO: a text file per image, a line per object, and data.yaml; detection, or segmentation with outlines: polygon.

    data.yaml                       path, train, val, test, names
    images/train/<name>.jpg         where pictures are copied or linked; else train.txt lists where they are
    labels/train/<name>.txt         class cx cy w h, or class x1 y1 x2 y2 ..., as fractions of the picture as shown

The pieces of an object are joined by lines to one outline. Holes are filled. An object without a mask is its box.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby

from stages.formats.contract import Content, File, Joined, Made, Piece, Pieces, Read
from stages.formats.entries import Entry, Picture
from stages.formats.polygons import drawn_outline
from stages.vision import masks

__all__ = ["Yolo"]


class Yolo:
    """Detection, or segmentation. folder: whether pictures lie beside the labels."""

    def __init__(self, segmentation: bool, folder: bool) -> None:
        self._segmentation, self._folder = segmentation, folder

    def part(self, number: int, entries: Sequence[Entry], first: int, read: Read) -> Iterator[Made]:
        """One file per image, and the pictures or a list of their places."""
        places: dict[str, list[str]] = {}
        for picture, own in groupby(entries, key=lambda entry: entry.picture):
            lines = [line for entry in own for line in self._lines(entry)]
            yield File(f"labels/{picture.split}/{picture.name}.txt", "".join(lines).encode())
            place = f"images/{picture.split}/{picture.name}{picture.suffix}" if self._folder else picture.uri
            places.setdefault(picture.split, []).append(f"./{place}\n" if self._folder else f"{place}\n")
            if self._folder:
                yield File(place, picture)
        for split, named in places.items():
            yield Piece(split, "".join(named).encode())

    def closing(self, content: Content) -> Iterator[File | Joined]:
        """data.yaml, and a list of pictures per split."""
        splits = [split for split, images in content.counts.images.items() if images]
        for split in splits:
            yield Joined(f"{split}.txt", [Pieces(split)])
        lines = ["# " + content.description, 'path: ""  # where this file is']
        lines += [f"{key}: {f'images/{split}' if self._folder else f'{split}.txt'}" for key, split in _keys(splits)]
        names = [f"  {number}: {json.dumps(name, ensure_ascii=False)}" for number, name in enumerate(content.classes)]
        yield File("data.yaml", "\n".join([*lines, f"nc: {len(content.classes)}", "names:", *names, ""]).encode())

    def _lines(self, entry: Entry) -> Iterator[str]:
        picture = entry.picture
        for place, (x0, y0, x1, y1) in enumerate(entry.boxes):
            outline = _outline(entry.masks[place], picture) if self._segmentation and entry.masks is not None else ""
            if outline:
                yield f"{entry.category} {outline}\n"
                continue
            if self._segmentation:
                corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
                shares = " ".join(f"{x / picture.width:.8f} {y / picture.height:.8f}" for x, y in corners)
                yield f"{entry.category} {shares}\n"
                continue
            x, y, width, height = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
            yield (
                f"{entry.category} {x / picture.width:.8f} {y / picture.height:.8f}"
                f" {width / picture.width:.8f} {height / picture.height:.8f}\n"
            )


def _keys(splits: Sequence[str]) -> list[tuple[str, str]]:
    """The keys of data.yaml. Trainers require train and val: where a split is missing, the next best stands in."""
    stands_in = {"train": ("train", *splits), "val": ("val", "dev", "test", "train")}
    found = [(key, next(split for split in order if split in splits)) for key, order in stands_in.items()]
    return [*found, *((split, split) for split in splits if split not in stands_in)]


def _outline(rle: masks.Rle, picture: Picture) -> str:
    outline = drawn_outline(masks.decode(rle))
    if outline is None:
        return ""
    return " ".join(f"{x / picture.width:.8f} {y / picture.height:.8f}" for x, y in outline.tolist())
