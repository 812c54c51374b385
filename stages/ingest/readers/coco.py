"""Reader `coco`: instances JSON of the COCO format, one annotation file per split, one class label per image.

    root/annotations/instances_train2017.json     train: annotations/instances_train2017.json
    root/train2017/000000000009.jpg               train_images: train2017

An image id is the path below the root, with its extension; the ids in the JSON are used only to link its records. The
class of an image is the category of its annotations, and its boxes are those of that category. Images without
annotations are left out; images of several categories are left out or get the largest one (`multi_label`). Annotations
with `iscrowd: 1` neither choose the class nor become boxes. `segmentation` is not read: there are no masks.
"""

import logging
import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.base.params import option
from stages.ingest.listing import ListedFile, list_files, read_text
from stages.ingest.multi_label import MultiLabel, class_by_area, half_open, total_area
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.readers.coco_file import parse_coco
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Found, Scan

__all__ = ["CocoParams", "CocoReader"]

_BESIDE = "_annotations.coco.json"
_FOLDERS = {"train": "train", "valid": "val", "val": "val", "test": "test"}
"""Folder in the exports of annotation tools -> split."""

_LOG = logging.getLogger("weakbox.ingest")


@dataclass(frozen=True)
class CocoParams(ReaderParams):
    """Parameters of reader `coco`."""

    train: str | None = option(
        None, "annotation file of split train: a path below the root, an absolute path or a URI", by_content=True
    )
    val: str | None = option(None, "annotation file of split val", by_content=True)
    test: str | None = option(None, "annotation file of split test", by_content=True)
    train_images: str = option("", "folder below the root that holds the images of split train", by_content=True)
    val_images: str = option("", "the same for split val", by_content=True)
    test_images: str = option("", "the same for split test", by_content=True)
    multi_label: MultiLabel = option(
        "skip",
        "images of several categories: left out, or given the category with the largest total box area",
        by_content=True,
    )
    empty_boxes: Literal["refuse", "skip"] = option(
        "refuse",
        "boxes without area: an error, or left out as if not annotated (COCO 2017 has two)",
        by_content=True,
    )


class CocoReader(Reader[CocoParams]):
    """Instances JSON of the COCO format."""

    name = "coco"
    Params = CocoParams

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """annotations/instances_*.json as COCO publishes them, or _annotations.coco.json in a folder of each split."""
        return _published(tree) or _by_folder(tree)

    def scan(self) -> Scan:
        """List the images that have a class.

        Raises:
            UsageError: no annotation file given, a missing root, annotation file or image, a bad record, a split
                without images; the line names the file and the record.
        """
        params = self.params
        splits = {
            "train": (params.train, params.train_images),
            "val": (params.val, params.val_images),
            "test": (params.test, params.test_images),
        }
        if not (params.train or params.val or params.test):
            raise UsageError("dataset: one of train, val and test must name an annotation file")
        listed = {file.path: file for file in list_files(params.root)}
        found: list[Found] = []
        for split, (annotations, folder) in splits.items():
            if annotations:
                found += self._images(split, annotations, folder, listed)
        return Scan.of(found)

    def _images(self, split: str, annotations: str, folder: str, listed: Mapping[str, ListedFile]) -> list[Found]:
        """The images of one annotation file that have a class."""
        where = f"dataset: {annotations}"
        text = _read(self.params.root, annotations, where)
        coco = parse_coco(text, where, skip_empty=self.params.empty_boxes == "skip")
        found = []
        for number, name in coco.images.items():
            path = _path_below_root(folder, name, where)
            boxes = coco.boxes.get(number, {})
            category = class_by_area({name: total_area(own) for name, own in boxes.items()}, self.params.multi_label)
            if category is None:
                continue
            if path not in listed:
                raise UsageError(f"{where}: there is no image {path!r} below the root ({split}_images: {folder!r})")
            corners = [half_open(box) for box in boxes[category]]
            file, label = listed[path], coco.categories[category]
            found.append(Found(path, path, file.stamp, label, split, corners, trouble=file.trouble))
        none, several = len(coco.images) - len(coco.boxes), len(coco.boxes) - len(found)
        left_out = f"left out: {none} images without annotations, {several} of several categories (multi_label)"
        if not found:
            raise UsageError(f"{where}: no image has a class; {left_out}")
        if none or several:
            _LOG.warning("%s: %d images listed; %s", where, len(found), left_out)
        return found


def _published(tree: Tree) -> Match | None:
    """annotations/instances_train2017.json, its images in train2017."""
    files = [name for name in tree.files("annotations") if name.startswith("instances_") and name.endswith(".json")]
    settings: dict[str, Json] = {}
    for name in files:
        folder = name.removeprefix("instances_").removesuffix(".json")
        split = next((split for split in ("train", "val", "test") if folder.startswith(split)), None)
        place = next((place for place in (folder, f"images/{folder}") if tree.has(place)), None)
        if split is not None and split not in settings and place is not None:
            settings |= {split: f"annotations/{name}", f"{split}_images": place}
    if files and not settings:
        return Match(f"annotations/{files[0]}", missing="the folders of its images, such as train2017")
    return Match(f"annotations/{files[0]}", settings) if settings else None


def _by_folder(tree: Tree) -> Match | None:
    """train/_annotations.coco.json beside its images, as annotation tools export it."""
    found = [folder for folder in tree.folders() if folder in _FOLDERS and _BESIDE in tree.files(folder)]
    settings: dict[str, Json] = {}
    for folder in found:
        settings |= {_FOLDERS[folder]: f"{folder}/{_BESIDE}", f"{_FOLDERS[folder]}_images": folder}
    return Match(f"{found[0]}/{_BESIDE}", settings) if found else None


def _read(root: str, annotations: str, where: str) -> str:
    uri = annotations if "://" in annotations or os.path.isabs(annotations) else f"{root.rstrip('/')}/{annotations}"
    try:
        return read_text(ListedFile(annotations, uri, ""))
    except ValueError as error:  # an unknown protocol
        raise UsageError(f"{where}: {error}") from error


def _path_below_root(folder: str, name: str, where: str) -> str:
    path = posixpath.join(folder, name)
    if path.startswith("/") or ".." in path.split("/"):
        raise UsageError(f"{where}: image file {path!r} is not below the root")
    return posixpath.normpath(path)
