"""Reader `tiny_imagenet`: the public layout of Tiny ImageNet.

train/<wnid>/images/*, train/<wnid>/<wnid>_boxes.txt (name x0 y0 x1 y1), val/images/*, val/val_annotations.txt (name
wnid x0 y0 x1 y1); corners are inclusive pixels. Image ids are paths below the root. val stays val; dev is taken from
train.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.base.errors import UsageError
from pipeline.base.params import option
from stages.ingest.archives import unpack
from stages.ingest.listing import ListedFile, list_files, read_text
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Box, Found, Scan
from stages.vision.boxes import inclusive_to_half_open


@dataclass(frozen=True)
class TinyImagenetParams(ReaderParams):
    """Parameters of reader `tiny_imagenet`."""

    archive: str | None = option(None, "a .tar.gz that is unpacked to root when root does not exist", resource=True)


class TinyImagenetReader(Reader[TinyImagenetParams]):
    """The public layout of Tiny ImageNet."""

    name = "tiny_imagenet"
    Params = TinyImagenetParams

    def scan(self) -> Scan:
        """List a Tiny ImageNet.

        Raises:
            UsageError: missing root, files or annotations; the line names them.
        """
        root = self.params.root
        listed = {file.path: file for file in list_files(root)}
        found = [*_train(root, listed), *_val(root, listed)]
        if not found:
            raise UsageError(f"dataset: root {root}: no train/<wnid>/images folders below it")
        return Scan.of(found)

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """val/val_annotations.txt, or train/<wnid>/images beside a file of boxes."""
        if "val_annotations.txt" in tree.files("val"):
            return Match("val/val_annotations.txt")
        first = next(iter(tree.folders("train")), None)
        boxed = first is not None and tree.has(f"train/{first}/images") and tree.has(f"train/{first}/{first}_boxes.txt")
        return Match(f"train/{first}/images beside {first}_boxes.txt") if boxed else None

    def is_absent(self) -> bool:
        """Whether an archive is given that is not unpacked yet."""
        return bool(self.params.archive) and not os.path.exists(self.params.root)

    def provide(self) -> None:
        """Unpack the archive. Raises UsageError as `unpack` does."""
        if self.params.archive:
            unpack(self.params.archive, self.params.root)


def _train(root: str, listed: dict[str, ListedFile]) -> Iterator[Found]:
    boxes: dict[str, dict[str, Box]] = {}
    for path, file in listed.items():
        parts = path.split("/")
        if len(parts) != 4 or parts[0] != "train" or parts[2] != "images":
            continue
        wnid = parts[1]
        if wnid not in boxes:
            lines = _lines(root, f"train/{wnid}/{wnid}_boxes.txt", listed, 5)
            boxes[wnid] = {name: _box(corners) for name, *corners in lines}
        box = boxes[wnid].get(parts[3])
        yield Found(path, path, file.stamp, wnid, "train", () if box is None else (box,), trouble=file.trouble)


def _val(root: str, listed: dict[str, ListedFile]) -> Iterator[Found]:
    if "val/val_annotations.txt" not in listed:
        return
    for name, wnid, *corners in _lines(root, "val/val_annotations.txt", listed, 6):
        file = listed.get(f"val/images/{name}")
        if file is None:
            raise UsageError(f"dataset: val/val_annotations.txt names {name}, which is not in val/images")
        yield Found(file.path, file.path, file.stamp, wnid, "val", (_box(corners),), trouble=file.trouble)


def _lines(root: str, path: str, listed: dict[str, ListedFile], columns: int) -> Iterator[list[str]]:
    if path not in listed:
        raise UsageError(f"dataset: root {root}: {path} is missing")
    for number, line in enumerate(read_text(listed[path]).splitlines(), 1):
        fields = line.split()
        if fields and len(fields) != columns:
            raise UsageError(f"dataset: {path}, line {number}: {columns} columns were expected, found {len(fields)}")
        if fields:
            yield fields


def _box(corners: list[str]) -> Box:
    try:
        x0, y0, x1, y1 = (float(value) for value in inclusive_to_half_open([float(corner) for corner in corners]))
    except ValueError as error:
        raise UsageError(f"dataset: a box of four numbers was expected, found {' '.join(corners)!r}") from error
    return x0, y0, x1, y1
