"""Reader `folder`: one sub-folder a class, optionally below a folder for each split; optional CSV of boxes, masks.

    root/<class>/...              all images are of split train
    root/<split>/<class>/...      split is train, val or test
    root/boxes.csv                image_id,x0,y0,x1,y1 (half-open pixels; several lines an image are several boxes)
    root/masks/<image_id>.png     exact masks, for scoring only

An image id is the path below the root, with its extension.
"""

import csv
import io
from collections import defaultdict
from dataclasses import dataclass

from pipeline.base.errors import UsageError
from pipeline.base.params import option
from pipeline.store.files import open_filesystem, retrying
from stages.ingest.listing import ListedFile, list_files, read_text
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.scan import Box, Found, Mask, Scan

_SPLITS = ("train", "val", "test")
_MASKS = "masks"


@dataclass(frozen=True)
class FolderParams(ReaderParams):
    """Parameters of reader `folder`."""

    boxes: str = option("boxes.csv", "CSV of boxes below the root; may be absent", by_content=True)


class FolderReader(Reader[FolderParams]):
    """Class sub-folders."""

    name = "folder"
    Params = FolderParams

    def scan(self) -> Scan:
        """List a folder data set.

        Raises:
            UsageError: missing root, no class folder, an empty class, a bad line in the CSV of boxes.
        """
        return scan_folder(self.params)


def scan_folder(params: FolderParams) -> Scan:
    """List a folder data set. Raises UsageError as `FolderReader.scan` does."""
    files = list_files(params.root)
    listed = {file.path: file for file in files}
    images = [file for file in files if file.path.count("/") >= 1 and not file.path.startswith(f"{_MASKS}/")]
    in_splits = [file.path.split("/", 1)[0] in _SPLITS and file.path.count("/") >= 2 for file in images]
    split_layout = any(in_splits)
    if split_layout and not all(in_splits):
        odd = images[in_splits.index(False)].path
        raise UsageError(f"dataset: root {params.root}: {odd} is outside the folders of the splits (train, val, test)")
    boxes = read_boxes(listed[params.boxes], set(listed)) if params.boxes in listed else None
    found = [_found(file, split_layout, boxes, listed) for file in images]
    result = Scan.of(found)
    _refuse_empty_classes(params.root, split_layout, result)
    return result


def read_boxes(file: ListedFile, known: set[str]) -> dict[str, list[Box]]:
    """Read a CSV with the header image_id,x0,y0,x1,y1: image id -> boxes.

    Raises:
        UsageError: names the line: an unknown image, no numbers, x1 <= x0 or y1 <= y0.
    """
    reader = csv.DictReader(io.StringIO(read_text(file)))
    if not {"image_id", "x0", "y0", "x1", "y1"} <= set(reader.fieldnames or ()):
        raise UsageError(f"dataset: {file.path}: the header must be image_id,x0,y0,x1,y1")
    boxes: dict[str, list[Box]] = defaultdict(list)
    for row in reader:
        where = f"dataset: {file.path}, line {reader.line_num}"
        try:
            x0, y0, x1, y1 = (float(row[name]) for name in ("x0", "y0", "x1", "y1"))
        except (TypeError, ValueError) as error:
            raise UsageError(f"{where}: four numbers were expected for {row['image_id']!r}") from error
        if not (x0 < x1 < float("inf") and y0 < y1 < float("inf") and x0 > float("-inf") and y0 > float("-inf")):
            raise UsageError(f"{where}: the box of {row['image_id']!r} has no area")
        if row["image_id"] not in known:
            raise UsageError(f"{where}: there is no image {row['image_id']!r}")
        boxes[row["image_id"]].append((x0, y0, x1, y1))
    return boxes


def _found(
    file: ListedFile, split_layout: bool, boxes: dict[str, list[Box]] | None, listed: dict[str, ListedFile]
) -> Found:
    parts = file.path.split("/")
    split, label = (parts[0], parts[1]) if split_layout else ("train", parts[0])
    mask = listed.get(f"{_MASKS}/{file.path}.png")
    return Found(
        image_id=file.path,
        uri=file.path,
        stamp=file.stamp,
        label_name=label,
        split=split,
        boxes=None if boxes is None else boxes.get(file.path, ()),
        masks=() if mask is None else (Mask(mask.path, mask.stamp),),
    )


def _refuse_empty_classes(root: str, split_layout: bool, scan: Scan) -> None:
    if not scan.images:
        raise UsageError(f"dataset: root {root}: no class folders with images in them")
    depth = 2 if split_layout else 1
    filled = {"/".join(image.image_id.split("/")[:depth]) for image in scan.images}
    for folder in _folders(root, split_layout):
        if folder not in filled:
            raise UsageError(f"dataset: class folder {folder!r} has no images")


def _folders(root: str, split_layout: bool) -> list[str]:
    fs, base = open_filesystem(root)

    def below(path: str) -> list[str]:
        entries = retrying(lambda: fs.ls(path, detail=True))
        names = [e["name"].rstrip("/").removeprefix(base).strip("/") for e in entries if e["type"] == "directory"]
        return [name for name in names if not name.rsplit("/", 1)[-1].startswith(".") and name != _MASKS]

    top = below(base)
    return [name for split in top for name in below(f"{base}/{split}")] if split_layout else top
