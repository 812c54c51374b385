"""Sorting the files of a VOC data set into images, annotations and lists, and finding the split of each image."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.base.errors import UsageError
from stages.formats.file_names import may_be_image, normalised
from stages.ingest.listing import ListedFile, read_text

__all__ = ["ANNOTATIONS", "IMAGES", "SPLITS", "VocFiles", "name_of", "sort_files", "splits_of", "stem_of"]

ANNOTATIONS = frozenset(["annotations", "annotation", "annos", "labels", "xml", "xmls"])
IMAGES = frozenset(["jpegimages", "images", "image", "imgs", "img"])
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Lower-case names of folders: of annotations, of images, and of splits."""
_MAPS = frozenset({"segmentationclass", "segmentationobject"})
_LIST = re.compile(r"(?:(.*)/)?ImageSets/Main/(train|val|trainval|test)\.txt")
_MOST_LIST = 2**26


@dataclass
class VocFiles:
    """The files of a data set. lists: those of ImageSets/Main, by the folder of ImageSets and the list's name."""

    images: list[ListedFile] = field(default_factory=list)
    annotations: list[ListedFile] = field(default_factory=list)
    lists: dict[tuple[str, str], ListedFile] = field(default_factory=dict)
    maps: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def sort_files(files: Iterable[ListedFile]) -> VocFiles:
    """Sort the files below a root; one without extension is an annotation if its folder is for these, else no image."""
    found = VocFiles()
    for file in files:
        *folders, name = file.path.split("/")
        below = {folder.lower() for folder in folders}
        listed = _LIST.fullmatch(file.path)
        if name.lower().endswith(".xml") or ("." not in name and below & ANNOTATIONS):
            found.annotations.append(file)
        elif listed:
            found.lists[listed[1] or "", listed[2]] = file
        elif file.trouble is None and not ("." in name and may_be_image(file.path)):
            found.others.append(file.path)
        elif below & (ANNOTATIONS | _MAPS):
            found.maps.append(file.path)
        else:
            found.images.append(file)
    return found


def name_of(file: ListedFile) -> str:
    """The last part of a file's path, in Unicode form NFC."""
    return normalised(file.path.rsplit("/", 1)[-1])


def stem_of(name: str) -> str:
    """A name without its extension."""
    return name.rsplit(".", 1)[0]


def splits_of(files: VocFiles, root: str) -> dict[str, str | None]:
    """Path of each image -> its split: by the lists where there are any, else by folders, else train.

    None: there are lists, and none of them names the image.

    Raises: UsageError for a name in two lists, or an image outside of the folders of the splits.
    """
    if files.lists:
        named = _listed(files.lists)
        return {image.path: _in_lists(image, named) for image in files.images}
    found = {image.path: _folder_split(image.path) for image in files.images}
    if any(found.values()) and not all(found.values()):
        odd = next(path for path, split in found.items() if split is None)
        raise UsageError(f"dataset: root {root}: {odd} is outside of the folders of the splits (train, val, test)")
    return {path: split or "train" for path, split in found.items()}


def _folder_split(path: str) -> str | None:
    return next((SPLITS[name] for name in path.lower().split("/")[:-1] if name in SPLITS), None)


def _listed(lists: Mapping[tuple[str, str], ListedFile]) -> dict[tuple[str, str], str]:
    """(folder that holds ImageSets, image name) -> split; images that only `trainval` names are train."""
    found: dict[tuple[str, str], str] = {}
    for split in ("train", "val", "test", "trainval"):
        for base, file in ((base, file) for (base, name), file in lists.items() if name == split):
            for name in _names(file):
                if split == "trainval":
                    found.setdefault((base, name), "train")
                elif found.setdefault((base, name), split) != split:
                    raise UsageError(f"dataset: {file.path}: {name!r} is also in {found[base, name]}.txt")
    return found


def _names(file: ListedFile) -> Iterator[str]:
    for line in read_text(file, _MOST_LIST).splitlines():
        words = line.split()
        if words:
            yield normalised(words[0].rsplit("/", 1)[-1])


def _in_lists(image: ListedFile, splits: Mapping[tuple[str, str], str]) -> str | None:
    """The split by the nearest lists above an image that name it; None where none do."""
    name, base = name_of(image), image.path
    while base:
        base = base.rpartition("/")[0]
        split = splits.get((base, stem_of(name))) or splits.get((base, name))
        if split is not None:
            return split
    return None
