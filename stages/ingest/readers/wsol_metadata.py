"""Metadata of the standard evaluator (clovaai/wsolevaluation): a folder per data set, in it a folder per split.

    ILSVRC/test/image_ids.txt       val/ILSVRC2012_val_00000001.JPEG
    ILSVRC/test/class_labels.txt    val/ILSVRC2012_val_00000001.JPEG,65
    ILSVRC/test/localization.txt    val/ILSVRC2012_val_00000001.JPEG,111,108,441,193     one line per box
    OpenImages/test/localization.txt  test/01226z/a.jpg,test/01226z/a_m01226z_6554d965.png,test/01226z/a_ignore.png

localization.txt is absent or empty where there is no ground truth. Files of sizes and of proxy ids are not read.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Literal, NamedTuple, TypeVar

from pipeline.base.errors import UsageError
from pipeline.store.paths import UnsafePathError, check_below
from stages.ingest.listing import ListedFile, read_text
from stages.ingest.recognition import Tree
from stages.ingest.scan import Box
from stages.scoring.metadata import (
    MaskFiles,
    names_masks,
    parse_class_labels,
    parse_image_ids,
    parse_localization,
    parse_mask_files,
)

T = TypeVar("T")
Kind = Literal["boxes", "masks"]

SPLITS = ("train", "val", "test")
IDS, LABELS, LOCALIZATION = "image_ids.txt", "class_labels.txt", "localization.txt"
_MOST = 2**30
"""The largest such file, in bytes."""
_FEW = 3
_NO_MASKS = MaskFiles((), None)


class Named(NamedTuple):
    """An image that the metadata names. boxes: half-open pixels, None where none are known; masks: paths."""

    image_id: str
    label: int
    boxes: tuple[Box, ...] | None
    masks: MaskFiles


class Metadata:
    """The folder of one data set. folder: as it is named in messages; place: where it is, an absolute path or a URI."""

    def __init__(self, folder: str, place: str) -> None:
        self.folder, self._tree = folder, Tree(place)

    @property
    def data_set(self) -> str:
        """The name of the data set, which is also that of the evaluator's folder of images."""
        return self._tree.root.rstrip("/").rsplit("/", 1)[-1]

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits that have ids and labels."""
        return tuple(split for split in SPLITS if {IDS, LABELS} <= set(self._tree.files(split)))

    def check(self) -> None:
        """Refuse a folder without splits. Raises UsageError."""
        where = f"dataset: metadata {self.folder}"
        if not self.splits and LABELS in self._tree.files():
            raise UsageError(f"{where} is the folder of one split: name the one that holds it")
        if not self.splits:
            raise UsageError(f"{where}: no train, val or test with {IDS} and {LABELS} in it")

    @property
    def incomplete(self) -> tuple[str, ...]:
        """The splits whose folder lacks ids or labels."""
        return tuple(split for split in self._tree.folders() if split in SPLITS and split not in self.splits)

    @property
    def kind(self) -> Kind:
        """The kind of ground truth, by the first line of a split that has some; boxes where none has."""
        heads = (self._first(split, LOCALIZATION, 1) for split in self.splits)
        first = next(filter(None, heads), None)
        return "masks" if first is not None and names_masks(first) else "boxes"

    def first_ids(self, split: str) -> list[str]:
        """A few ids of a split, without reading the whole file."""
        return self._first(split, IDS, _FEW)

    def images(self, split: str, kind: Kind) -> list[Named]:
        """The images of a split in file order, with what is known of their ground truth.

        kind: the expected content of localization.txt. Raises: UsageError with the file and the line or id.
        """
        ids = self._parsed(split, IDS, lambda: parse_image_ids(self._lines(split, IDS)))
        for image_id in ids:
            check_path(image_id, self._where(split, IDS))
        labels, localized = self._labels(split, ids), self._localized(split, kind)
        boxes = self._boxes(split, ids, localized) if localized and kind == "boxes" else [None] * len(ids)
        masks = self._masks(split, ids, localized) if localized and kind == "masks" else [_NO_MASKS] * len(ids)
        return [Named(*each) for each in zip(ids, labels, boxes, masks, strict=True)]

    def _labels(self, split: str, ids: Sequence[str]) -> list[int]:
        lines = self._lines(split, LABELS)
        labels: list[int] = self._parsed(split, LABELS, lambda: parse_class_labels(lines, ids)).tolist()
        for image_id, label in zip(ids, labels, strict=True):
            if label < 0:
                raise UsageError(f"{self._where(split, LABELS)}: {image_id}: class label {label} is no class index")
        return labels

    def _boxes(self, split: str, ids: Sequence[str], lines: list[str]) -> Sequence[tuple[Box, ...]]:
        found = self._parsed(split, LOCALIZATION, lambda: parse_localization(ids, lines))
        corners = iter(found.boxes.tolist())
        return [tuple(_box(next(corners)) for _ in range(count)) for count in found.counts.tolist()]

    def _masks(self, split: str, ids: Sequence[str], lines: list[str]) -> Sequence[MaskFiles]:
        found = self._parsed(split, LOCALIZATION, lambda: parse_mask_files(ids, lines))
        for own in found:
            for name in (*own.instances, *filter(None, [own.ignore])):
                check_path(name, self._where(split, LOCALIZATION))
        return found

    def _localized(self, split: str, kind: Kind) -> list[str]:
        """The lines of the ground truth; empty where there is none. Raises UsageError for the other kind."""
        lines = self._lines(split, LOCALIZATION)
        if lines and names_masks(lines) != (kind == "masks"):
            found, reader = ("boxes", "wsol") if kind == "masks" else ("masks", "openimages")
            raise UsageError(f"{self._where(split, LOCALIZATION)}: it lists {found}: reader {reader} reads them")
        return lines

    def _parsed(self, split: str, name: str, parse: Callable[[], T]) -> T:
        try:
            return parse()
        except ValueError as error:
            raise UsageError(f"{self._where(split, name)}: {error}") from error

    def _lines(self, split: str, name: str) -> list[str]:
        """The lines of a file; empty where it is absent."""
        path = f"{split}/{name}"
        file = ListedFile(f"{self.folder}/{path}", f"{self._tree.root.rstrip('/')}/{path}", "")
        text = read_text(file, _MOST) if name in self._tree.files(split) else ""
        return text.rstrip().splitlines()

    def _first(self, split: str, name: str, most: int) -> list[str]:
        text = self._tree.head(f"{split}/{name}").decode("utf-8-sig", "replace")
        return [line.strip() for line in text.splitlines() if line.strip()][:most]

    def _where(self, split: str, name: str) -> str:
        return f"dataset: {self.folder}/{split}/{name}"


def class_names(images: Mapping[str, Sequence[Named]]) -> dict[int, str]:
    """The name of each class index: that of its folder of images if a split has one folder per class, else the index.

    Sorted folder names must be in the order of the indices, as in CUB, ILSVRC (train) and OpenImages. Indices are
    padded with zeros, so that texts sort as numbers do. images: split -> its images.
    """
    labels = sorted({image.label for own in images.values() for image in own})
    for split in ("train", "test", "val"):
        pairs = {(image.label, _folder(image.image_id)) for image in images.get(split, ())}
        named = dict(sorted(pairs))
        names = list(named.values())
        own_folders = len(pairs) == len(named) > 1 and names == sorted(set(names))
        if own_folders and list(named) == labels and not any(name.isdigit() for name in names):
            return named
    width = max(3, len(str(labels[-1])) if labels else 0)
    return {label: f"{label:0{width}d}" for label in labels}


def check_path(path: str, where: str) -> None:
    """Refuse a path that climbs out of its folder. Raises UsageError that starts with `where`."""
    try:
        check_below(path)
    except UnsafePathError as error:
        raise UsageError(f"{where}: {path[:200]!r} is no path below the folder of images or masks") from error


def _folder(image_id: str) -> str:
    return image_id.rpartition("/")[0].rpartition("/")[2]


def _box(corners: Sequence[float]) -> Box:
    x0, y0, x1, y1 = corners
    return x0, y0, x1, y1
