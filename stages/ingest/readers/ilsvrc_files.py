"""Sorting the files of ILSVRC by their paths: images by split and class, annotations, tables."""

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from stages.formats.file_names import may_be_image
from stages.ingest.listing import ListedFile
from stages.ingest.recognition import Tree

__all__ = ["VAL", "WNID", "IlsvrcFiles", "Image", "annotation_of", "images_below", "join", "name_of", "split_of"]

WNID = re.compile(r"n\d{8}")
VAL = "ILSVRC2012_val_"
"""Prefix of the names of all validation images."""
_KAGGLE = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
_IMAGE = re.compile(r"(?:(?:ILSVRC/)?Data/CLS-LOC/)?(?:ILSVRC2012_img_)?(train|val|test)/(?:(n\d{8})/)?[^/]+")
_XML = re.compile(r"(?:.*/)?(?:ILSVRC2012_val|n\d{8})_\d+\.xml")
_GROUND_TRUTH = re.compile(r"ILSVRC\d*_(?:clsloc_)?validation_ground_truth\.txt")
_CLASSES = frozenset({"map_clsloc.txt", "meta.mat", "meta_clsloc.mat"})
_SOLUTIONS = {"LOC_val_solution.csv": "val", "LOC_train_solution.csv": "train"}
_PUBLISHED = "ILSVRC2012_img_"
"""Prefix of the names of the published archives of images."""
_LISTINGS, _DEPTH = 32, 4
"""The most folders that are searched for annotations, and how deep."""


class Image(NamedTuple):
    """An image file. wnid: that of its class folder, "" if it is in none."""

    path: str
    stamp: str
    trouble: str | None
    split: str
    wnid: str

    @property
    def name(self) -> str:
        """The name that annotations use: that of its file without the extension."""
        return name_of(self.path)


@dataclass
class IlsvrcFiles:
    """The files beside the images, sorted by their names.

    folders: split and wnid of the class folders with images in them. xml: annotations. solutions: Kaggle's tables by
    split. ground_truth: the devkit's; classes: the files that map its numbers to wnids. others: paths of the rest.
    """

    folders: set[tuple[str, str]] = field(default_factory=set)
    xml: list[ListedFile] = field(default_factory=list)
    solutions: dict[str, ListedFile] = field(default_factory=dict)
    ground_truth: ListedFile | None = None
    classes: list[ListedFile] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def images(self, files: Iterable[ListedFile]) -> Iterator[Image]:
        """Yield the images among some files, and keep the other files."""
        for file in files:
            path = file.path
            match = _IMAGE.fullmatch(path)
            if match and (file.trouble is not None or may_be_image(path)):
                split, wnid = match[1], match[2] or ""
                self.folders.add((split, wnid))
                yield Image(path, file.stamp, file.trouble, split, wnid)
            elif not self.annotates(file):
                self.others.append(path)

    def annotates(self, file: ListedFile) -> bool:
        """Keep a file if it is an annotation or a table, and return whether it is.

        Annotations of ILSVRC's detection task (DET) have the same names but are of other images.
        """
        name = file.path.rsplit("/", 1)[-1]
        if _XML.fullmatch(file.path) and "/DET/" not in file.path:
            self.xml.append(file)
        elif name in _SOLUTIONS:
            self.solutions.setdefault(_SOLUTIONS[name], file)
        elif _GROUND_TRUTH.fullmatch(name):
            self.ground_truth = self.ground_truth or file
        elif name in _CLASSES:
            self.classes.append(file)
        else:
            return False
        return True


def name_of(path: str) -> str:
    """The last part of a path without its extension."""
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def split_of(folder: str) -> str:
    """The split in the name of a folder of images."""
    return folder.removeprefix(_PUBLISHED)


def images_below(tree: Tree) -> tuple[str, list[str]] | None:
    """The folder that holds train or val or both, and their names in it; None where there is neither."""
    for base in (*_KAGGLE, ""):
        names = [name for name in tree.folders(base) if split_of(name) in ("train", "val")]
        if names:
            return base, names
    return None


def annotation_of(tree: Tree, base: str, val: bool) -> str:
    """The path of a file of annotations or classes, searched outside the folders of images; "" if none was found.

    base: the folder that holds the folders of images. val: it must be of validation images.
    """
    passed = {join(base, prefix + split) for prefix in ("", _PUBLISHED) for split in ("train", "val", "test")}
    beside = [join(base, name) for name in ("val", f"{_PUBLISHED}val")]
    for folder in (*islice(_folders(tree, "", passed, _DEPTH), _LISTINGS), *beside):
        for name in tree.files(folder):
            known = name == "LOC_val_solution.csv" or _GROUND_TRUTH.fullmatch(name) or _XML.fullmatch(name)
            if known and not (val and WNID.match(name)):
                return join(folder, name)
    return ""


def join(folder: str, name: str) -> str:
    """The path of a name in a folder below the root."""
    return f"{folder}/{name}" if folder else name


def _folders(tree: Tree, path: str, passed: Container[str], depth: int) -> Iterator[str]:
    """A folder and its subfolders; of class folders only the first."""
    yield path
    names = tree.folders(path) if depth else ()
    classes = [name for name in names if WNID.fullmatch(name)]
    for name in (*classes[:1], *(name for name in names if name not in classes and name != "Data")):
        if join(path, name) not in passed:
            yield from _folders(tree, join(path, name), passed, depth - 1)
