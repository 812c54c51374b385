"""Reader `folder`: one folder per class, optionally below a folder per split; optional CSV of boxes, and masks.

    root/<class>/...              all images are of split train
    root/<image>                  with one_class: all of one class, named like the root
    root/<split>/<class>/...      split is train, dev, val or test
    root/boxes.csv                image_id,x0,y0,x1,y1 (half-open pixels; one line per box)
    root/masks/<image_id>.png     exact masks, for scoring only

An image id is the path below the root, with its extension. Boxes and masks refer to the image as viewers show it.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from pipeline.base.errors import UsageError
from pipeline.base.params import option
from pipeline.store.files import open_filesystem, retrying
from stages.formats.file_names import left_out, may_be_image, normalised
from stages.ingest.listing import ListedFile, walk_files
from stages.ingest.packed import Packed
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.readers.boxes_csv import read_boxes
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Box, Found, Mask, Scan

__all__ = ["BOXES", "FolderParams", "FolderReader", "scan_folder"]

Files = Mapping[str, ListedFile]
Row = tuple[str, str, str | None]
"""Path, stamp and trouble of a file."""

_SPLITS = ("train", "dev", "val", "test")
_ALSO = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
"""Other names of splits, in lower case."""
BOXES, _MASKS = "boxes.csv", "masks"


@dataclass(frozen=True)
class FolderParams(ReaderParams):
    """Parameters of reader `folder`."""

    boxes: str | None = option(
        None, "CSV of boxes: a path below the root, an absolute path or a URI; null: boxes.csv if it is there",
        by_content=True,
    )  # fmt: skip
    splits: Literal["exact", "any", "none"] = option(
        "exact",
        "top folders that are splits: exact: train, dev, val, test; any: also Train, training, valid, validation,"
        " testing; none: all are classes",
        by_content=True,
    )
    one_class: bool = option(
        False, "if no folder holds images, those in the root itself are one class", by_content=True
    )
    recognise: bool = option(True, "refuse a root that is laid out for another reader", resource=True)


class FolderReader(Reader[FolderParams]):
    """One folder per class."""

    name = "folder"
    Params = FolderParams

    def __init__(self, params: FolderParams) -> None:
        super().__init__(params)
        self._others: Sequence[type[Reader[ReaderParams]]] = ()

    @property
    def displayed(self) -> bool:
        """True: people draw boxes on the image that a viewer shows."""
        return True

    def among(self, readers: Sequence[type[Reader[ReaderParams]]]) -> None:
        """Remember the readers of more specific layouts."""
        self._others = [reader for reader in readers if not issubclass(reader, FolderReader)]

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Folders with images in them, directly or below a split."""
        tops = tree.folders()
        splits = [top for top in tops if _split(top, "any") is not None]
        below = [f"{split}/{name}" for split in splits for name in tree.folders(split)]
        classes = below or [top for top in tops if top != _MASKS and top not in splits]
        if not any(may_be_image(name) for path in classes[:8] for name in tree.files(path)):
            return Match("folders", missing="class folders with images in them") if tops else None
        settings = {"splits": "any"} if set(splits) - set(_SPLITS) and below else {}
        return Match(f"{len(classes)} class folders{' below ' + ', '.join(splits) if below else ''}", settings)

    def scan(self) -> Scan:
        """List a folder data set.

        Raises:
            UsageError: missing root, no class folder, an empty class, a bad line in the CSV of boxes, a root that is
                laid out for another reader, or that has splits by other names.
        """
        if self.params.recognise:
            self._refuse_other_layouts()
        return scan_folder(self.params)

    def _refuse_other_layouts(self) -> None:
        tree = Tree(self.params.root)
        for reader in self._others:
            match = reader.recognise(tree)
            if match is not None and not match.missing:
                raise UsageError(
                    f"dataset: root {self.params.root}: this is the layout of reader {reader.name} ({match.why}):"
                    f" take reader: {reader.name} or auto; recognise: false reads it as folders all the same"
                )


def scan_folder(params: FolderParams) -> Scan:
    """List a folder data set. Raises UsageError as `FolderReader.scan` does."""
    lying = _Lying(params.boxes or BOXES)
    rows = Packed.of(lying.images(walk_files(params.root)), _row)
    if lying.masks and not _mirrored(lying, rows):
        rows = Packed.of(chain(rows, lying.class_of_masks()), _row)
    if not rows and params.one_class:
        rows = Packed.of(lying.loose(), _row)
    if not rows:
        raise UsageError(f"dataset: root {params.root}: no class folders with images in them")
    split_layout = _has_splits(params, list(lying.folders.values()))
    splits = params.splits if split_layout else None
    make = _Images(_name_of(params.root), splits, _boxes(params, lying.boxes, rows), lying.masks)
    _refuse_empty_classes(params.root, split_layout, [*lying.folders.values(), *lying.beside])
    classes = sorted({make.class_of(folder)[0] for folder in lying.folders})
    has_dev = any(make.class_of(folder)[1] == "dev" for folder in lying.folders)
    return Scan(rows.made_by(make), classes, left_out(lying.beside), has_dev)


class _Lying:
    """The files below a root, sorted by their names: images, masks, the CSV of boxes, and other files.

    folders: folder with images in it -> path of its first image. beside: paths of the other files.
    """

    def __init__(self, boxes: str) -> None:
        self.boxes: ListedFile | None = None
        self.masks: dict[str, ListedFile] = {}
        self.folders: dict[str, str] = {}
        self.beside: list[str] = []
        self._boxes = boxes
        self._loose: list[ListedFile] = []

    def images(self, files: Iterable[ListedFile]) -> Iterator[Row]:
        """Yield the images among some files, and keep the other files."""
        for file in files:
            if file.path == self._boxes:
                self.boxes = file
            elif file.path.startswith(f"{_MASKS}/"):
                self.masks[file.path] = file
            elif self._is_image(file):
                yield file.path, file.stamp, file.trouble

    def loose(self) -> Iterator[Row]:
        """The images in the root itself, as one class; they are removed from `beside`."""
        if self._loose:
            self.folders[""] = self._loose[0].path
            loose = {file.path for file in self._loose}
            self.beside = [path for path in self.beside if path not in loose]
        return ((file.path, file.stamp, file.trouble) for file in self._loose)

    def class_of_masks(self) -> Iterator[Row]:
        """The files of the folder `masks`, as images of a class of that name."""
        masks, self.masks = self.masks, {}
        return ((file.path, file.stamp, file.trouble) for file in masks.values() if self._is_image(file))

    def _is_image(self, file: ListedFile) -> bool:
        folder = file.path.rpartition("/")[0]
        image = file.trouble is not None or may_be_image(file.path)
        found = bool(folder) and image
        if found:
            self.folders.setdefault(folder, file.path)
        else:
            self.beside.append(file.path)
            if image and not self.folders:
                self._loose.append(file)
        return found


class _Images:
    """Makes images of rows. root: its name. splits: the option if top folders are splits; None: they are classes."""

    def __init__(self, root: str, splits: str | None, boxes: Mapping[str, list[Box]] | None, masks: Files) -> None:
        self._root, self._splits, self._boxes, self._masks = root, splits, boxes, masks
        self._classes: dict[str, tuple[str, str]] = {}

    def __call__(self, path: str, stamp: str, trouble: str | None) -> Found:
        """One image."""
        name, split = self.class_of(path.rpartition("/")[0])
        boxes = None if self._boxes is None else self._boxes.get(path, ())
        mask = self._masks.get(f"{_MASKS}/{path}.png") if self._masks else None
        masks = () if mask is None else (Mask(mask.path, mask.stamp),)
        return Found(path, path, stamp, name, split, boxes, masks, trouble=trouble)

    def class_of(self, folder: str) -> tuple[str, str]:
        """Class name and split of the images of a folder."""
        if folder not in self._classes:
            top, *below = folder.split("/")
            if self._splits is None:
                self._classes[folder] = normalised(top or self._root), "train"
            else:
                self._classes[folder] = normalised(below[0]), _split(top, self._splits) or "train"
        return self._classes[folder]


def _name_of(root: str) -> str:
    """The last part of a root's path."""
    name = root.rstrip("/").rsplit("/", 1)[-1]
    return name if name not in ("", ".", "..") else os.path.basename(os.path.abspath(root)) or "images"


def _row(path: str, stamp: str, trouble: str | None) -> Row:
    return path, stamp, trouble


def _mirrored(lying: _Lying, rows: Iterable[Row]) -> bool:
    """Whether the files of the folder `masks` are masks of images; else it is a class of that name."""
    of_images = {path.removeprefix(f"{_MASKS}/").removesuffix(".png") for path in lying.masks}
    return any(path in of_images for path in chain((path for path, *_ in rows), lying.beside, lying.masks))


def _split(name: str, splits: str) -> str | None:
    """The split that a folder's name stands for; None for the name of a class."""
    if splits == "exact":
        return name if name in _SPLITS else None
    small = name.lower()
    return small if small in _SPLITS else _ALSO.get(small)


def _has_splits(params: FolderParams, paths: Sequence[str]) -> bool:
    """Whether the top folders are splits, by one image of each folder.

    Raises UsageError where they look like splits, but the option `splits` does not take them as such.
    """
    root, splits = f"dataset: root {params.root}", params.splits
    if splits == "none":
        return False
    parts = [path.split("/") for path in paths]
    as_split = [len(part) >= 3 and _split(part[0], splits) is not None for part in parts]
    tops = sorted({part[0] for part in parts})
    if all(_split(top, "any") for top in tops) and not all(as_split):
        odd = "/".join(parts[as_split.index(False)])
        if odd.count("/") >= 2:
            words = "splits: any takes them as splits"
        else:
            words = f"{odd} lies in no class folder below one"
        raise UsageError(
            f"{root}: the folders {', '.join(tops)} look like splits, not like classes: {words},"
            " splits: none as classes"
        )
    if any(as_split) and not all(as_split):
        odd = "/".join(parts[as_split.index(False)])
        raise UsageError(f"{root}: {odd} is outside the folders of the splits (train, dev, val, test)")
    inner = {part[1] for part in parts if len(part) >= 4}
    if len(tops) == 1 and inner and all(len(part) >= 4 and _split(part[1], "any") for part in parts):
        raise UsageError(f"{root}: its only folder {tops[0]!r} holds {', '.join(sorted(inner))}: make that the root")
    return all(as_split)


def _boxes(params: FolderParams, file: ListedFile | None, rows: Iterable[Row]) -> dict[str, list[Box]] | None:
    name = params.boxes or BOXES
    if file is None and (os.path.isabs(name) or "://" in name):
        file = ListedFile(name, name, "")
    if file is None:
        if params.boxes is None:
            return None
        raise UsageError(f"dataset: boxes: there is no file {name!r} below the root {params.root}")
    return read_boxes(file, {path: None for path, *_ in rows})


def _refuse_empty_classes(root: str, split_layout: bool, paths: Iterable[str]) -> None:
    depth = 2 if split_layout else 1
    filled = {"/".join(path.split("/")[:depth]) for path in paths if path.count("/") >= depth}
    for folder in _folders(root, split_layout):
        if folder not in filled:
            raise UsageError(f"dataset: class folder {folder!r} has no images that can be listed")


def _folders(root: str, split_layout: bool) -> list[str]:
    fs, base = open_filesystem(root)

    def below(path: str) -> list[str]:
        entries = retrying(lambda: fs.ls(path, detail=True))
        names = [e["name"].rstrip("/").removeprefix(base).strip("/") for e in entries if e["type"] == "directory"]
        return [name for name in names if not name.rsplit("/", 1)[-1].startswith(".") and name != _MASKS]

    top = below(base)
    return [name for split in top for name in below(f"{base}/{split}")] if split_layout else top
