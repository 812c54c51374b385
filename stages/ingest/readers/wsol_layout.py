"""Locating the metadata of the standard evaluator, and the images and masks that it names.

The evaluator keeps metadata in metadata/<data set> and images in dataset/<data set>/<image id>.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.base.errors import UsageError
from pipeline.base.params import option
from stages.formats.file_names import ByName, may_be_image
from stages.ingest.class_list import class_list
from stages.ingest.listing import ListedFile, list_files
from stages.ingest.reader import ClassNames, ReaderParams
from stages.ingest.readers.wsol_metadata import IDS, LABELS, Kind, Metadata, Named, check_path, class_names
from stages.ingest.recognition import Match, Tree

_METADATA = "metadata"
_ABSENT = "there is no such file"


@dataclass(frozen=True)
class MetadataParams(ReaderParams):
    """Parameters for the folders of metadata and images."""

    metadata: str | None = option(
        None,
        "folder of the data set's metadata, which holds train, val and test: a path below the root, an absolute path or"
        " a URI; null: the folder in metadata whose images are here",
        by_content=True,
    )
    train_images: str | None = option(
        None,
        "folder that image ids of split train are relative to: a path below the root, an absolute path or a URI; null:"
        " the root, <data set> or dataset/<data set> below it",
        by_content=True,
    )
    val_images: str | None = option(None, "the same for split val", by_content=True)
    test_images: str | None = option(None, "the same for split test", by_content=True)


class Folder(NamedTuple):
    """The files below a folder, by name. prefix: put before a name to look it up in `files`; place: put before that."""

    place: str
    prefix: str
    files: ByName[ListedFile]

    def get(self, name: str) -> ListedFile | None:
        """The file of a name; None where there is none."""
        return self.files.get(f"{self.prefix}{name}")

    def file(self, name: str) -> ListedFile:
        """The file of a name; where there is none, one with that as its trouble."""
        path = f"{self.place}{self.prefix}{name}"
        return self.get(name) or ListedFile(path, path, "", _ABSENT)


class Folders:
    """Folders below a root, which is listed once, and folders elsewhere, each listed on first use."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._below = {file.path: file for file in list_files(root)}
        self._by_name = ByName(self._below)
        self._elsewhere: dict[str, Folder] = {}

    def named(self, name: str) -> Folder:
        """A folder as a config names it. Raises UsageError for one that is not there, or whose path climbs out."""
        if not _is_elsewhere(name):
            check_path(name.strip("/"), "dataset")
            return Folder("", f"{name.strip('/')}/" if name.strip("/") else "", self._by_name)
        if name not in self._elsewhere:
            self._elsewhere[name] = _elsewhere(name)
        return self._elsewhere[name]

    def unnamed(self, named: set[str], metadata: str) -> list[str]:
        """In words: files below the root that may be images, are not `named`, and are not in the metadata's folder."""
        beside = [path for path in self._below if path not in named and not path.startswith(f"{metadata}/")]
        count = sum(map(may_be_image, beside))
        return [f"{count} files that the metadata does not name"] if count else []


class SplitImages(NamedTuple):
    """The images of a split that metadata names, and the folder that they are in."""

    split: str
    images: Sequence[Named]
    folder: Folder


@dataclass(frozen=True)
class Located:
    """All splits that have images. names: class index -> class name. left_out: splits without images, in words."""

    metadata: Metadata
    splits: Sequence[SplitImages]
    names: dict[int, str]
    left_out: Sequence[str]


def locate(params: MetadataParams, kind: Kind, folders: Folders) -> Located:
    """The images of each split of the metadata; a split without any image file is left out.

    Raises: UsageError for absent or ambiguous metadata, a bad line, no image at all, or none in a configured folder.
    """
    metadata = _metadata(params, kind)
    metadata.check()
    given = {"train": params.train_images, "val": params.val_images, "test": params.test_images}
    named = {split: metadata.images(split, kind) for split in metadata.splits}
    left_out = [f"split {split}: {metadata.folder}/{split} lacks {IDS} or {LABELS}" for split in metadata.incomplete]
    found = []
    for split, images in named.items():
        folder = _folder(images, given[split], folders, metadata)
        if folder is not None:
            found.append(SplitImages(split, images, folder))
        elif given[split] is not None:
            raise UsageError(f"dataset: {split}_images: no image of {metadata.folder}/{split} is in {given[split]!r}")
        else:
            left_out.append(f"split {split}: none of its {len(images)} images is there")
    if not found:
        raise UsageError(f"dataset: root {params.root}: no image that {metadata.folder} names is below it")
    names = class_names(named)
    return Located(metadata, found, names if params.classes is None else _of_list(params.classes, names), left_out)


def _of_list(name: ClassNames, numbers: Iterable[int]) -> dict[int, str]:
    """Class number -> name, from a predefined list. Raises UsageError for a number that it does not have."""
    known = class_list(name)
    beyond = next((number for number in numbers if not 0 <= number < len(known)), None)
    if beyond is not None:
        raise UsageError(f"dataset: classes: {name} has no class of number {beyond}")
    return {number: known[number] for number in numbers}


def recognise(tree: Tree, kind: Kind) -> Match | None:
    """Whether metadata/<data set>/{train,val,test} lists this kind of ground truth, of images that are there."""
    known = _below(tree, kind)
    there = [metadata for metadata in known if _has_images(tree, metadata)]
    if not known:
        return None
    if not there:
        return Match(known[0].folder, missing=f"the images that {known[0].folder} names")
    why = f"{there[0].folder} with {', '.join(there[0].splits)}, {kind} in them"
    if len(there) > 1:
        return Match(why, missing=f"a choice: metadata: {' or '.join(metadata.folder for metadata in there)}")
    return Match(why, {"metadata": there[0].folder})


def _metadata(params: MetadataParams, kind: Kind) -> Metadata:
    if params.metadata is not None:
        elsewhere = _is_elsewhere(params.metadata)
        return Metadata(params.metadata, params.metadata if elsewhere else f"{params.root}/{params.metadata}")
    tree = Tree(params.root)
    known = _below(tree, kind)
    chosen = known if len(known) == 1 else [metadata for metadata in known if _has_images(tree, metadata)]
    if len(chosen) == 1:
        return chosen[0]
    found = f"several: {', '.join(metadata.folder for metadata in known)}" if known else f"no {_METADATA}/<data set>"
    raise UsageError(f"dataset: root {params.root}: {found} with {kind}: name the folder as metadata")


def _below(tree: Tree, kind: Kind) -> list[Metadata]:
    """The metadata of this kind in the folder `metadata`."""
    folders = [_METADATA, *(f"{_METADATA}/{name}" for name in tree.folders(_METADATA))]
    known = [Metadata(path, f"{tree.root}/{path}") for path in folders]
    return [metadata for metadata in known if metadata.splits and metadata.kind == kind]


def _has_images(tree: Tree, metadata: Metadata) -> bool:
    """Whether one of the first images of a split exists."""
    ids = [image_id for split in metadata.splits for image_id in metadata.first_ids(split)]
    places = [f"{folder}/{image_id}".strip("/") for folder in _usual(metadata) for image_id in ids]
    return any(tree.has(place) for place in places if ".." not in place.split("/"))


def _usual(metadata: Metadata) -> tuple[str, ...]:
    """The evaluator's usual folders of images, for a root that holds one data set or all of them."""
    return "", metadata.data_set, f"dataset/{metadata.data_set}"


def _folder(images: Sequence[Named], given: str | None, folders: Folders, metadata: Metadata) -> Folder | None:
    """The first folder that has an image; None where none has."""
    candidates = (folders.named(name) for name in (_usual(metadata) if given is None else (given,)))
    has_one = (folder for folder in candidates if any(folder.get(image.image_id) for image in images))
    return next(has_one, None)


def _elsewhere(name: str) -> Folder:
    place = name if "://" in name else os.path.abspath(name)
    files = {file.path: file._replace(path=file.uri) for file in list_files(place)}
    return Folder(f"{place.rstrip('/')}/", "", ByName(files))


def _is_elsewhere(name: str) -> bool:
    return "://" in name or os.path.isabs(name)
