"""Reader `cub`: CUB-200-2011 as it is published, unpacked or as its archives.

    CUB_200_2011/images.txt               1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg
    CUB_200_2011/image_class_labels.txt   1 1
    CUB_200_2011/classes.txt              1 001.Black_footed_Albatross
    CUB_200_2011/train_test_split.txt     1 0                            1 is train, 0 is test
    CUB_200_2011/bounding_boxes.txt       1 60.0 27.0 325.0 304.0        x, y, width, height
    CUB_200_2011/images/<class>/<name>.jpg
    segmentations/<class>/<name>.png      beside CUB_200_2011, or in it

The root is CUB_200_2011 or the folder that holds it. An image id is the path that images.txt gives.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.base.errors import UsageError
from pipeline.base.params import option
from stages.formats.file_names import may_be_image
from stages.ingest.archives import unpack, unpack_into
from stages.ingest.listing import ListedFile, list_files
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.readers.cub_files import IMAGES, TABLES, CubImage, read_images
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Found, Mask, Scan

__all__ = ["CubParams", "CubReader"]

Files = Mapping[str, ListedFile]

_FOLDER, _IMAGES, _MASKS = "CUB_200_2011", "images", "segmentations"
_TOPS = ("", f"{_FOLDER}/")
_ABSENT = "there is no such file"


@dataclass(frozen=True)
class CubParams(ReaderParams):
    """Parameters of reader `cub`."""

    archive: str | None = option(None, "CUB_200_2011.tgz: unpacked to root when root does not exist", resource=True)
    segmentations: str | None = option(
        None, "segmentations.tgz: unpacked below root when there is no folder segmentations", resource=True
    )


class CubReader(Reader[CubParams]):
    """CUB-200-2011 as it is published: boxes, its train and test split, segmentations if they are present."""

    name = "cub"
    Params = CubParams

    def scan(self) -> Scan:
        """List the images that images.txt names; an absent file is listed as the trouble of its image.

        Raises:
            UsageError: a missing root or text file, a bad line, no image there at all.
        """
        root = self.params.root
        listed = {file.path: file for file in list_files(root)}
        top = next((top for top in _TOPS if f"{top}{IMAGES}" in listed), None)
        if top is None:
            raise UsageError(f"dataset: root {root}: no {IMAGES} and no {_FOLDER}/{IMAGES} below it")
        for name in TABLES:
            if f"{top}{name}" not in listed:
                raise UsageError(f"dataset: root {root}: {top}{name} is missing")
        images = read_images({name: listed[f"{top}{name}"] for name in TABLES})
        if not any(f"{top}{_IMAGES}/{image.name}" in listed for image in images):
            raise UsageError(f"dataset: root {root}: no image that {top}{IMAGES} names is in {top}{_IMAGES}")
        masks = self._masks(top, listed)
        found = [_found(image, f"{top}{_IMAGES}", listed, masks) for image in images]
        return Scan.of(found, _left_out(f"{top}{_IMAGES}/", found, listed, bool(masks)))

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """The text files and the folder of images, in the root or in CUB_200_2011."""
        if tree.is_file:
            name = tree.root.rsplit("/", 1)[-1]
            wanted = f"a folder as root to unpack it to, and archive: {name}"
            return Match(name, missing=wanted) if name.startswith(_FOLDER) else None
        for top in _TOPS:
            names = {*tree.files(top.rstrip("/")), *tree.folders(top.rstrip("/"))}
            absent = [name for name in (*TABLES, _IMAGES) if name not in names]
            if len(absent) <= 1:
                return Match(
                    f"{top}{IMAGES} with {', '.join(TABLES[1:])}", missing=f"{top}{absent[0]}" if absent else ""
                )
        return None

    def is_absent(self) -> bool:
        """Whether an archive is given that is not unpacked yet."""
        return self._root_is_absent or self._masks_are_absent

    def provide(self) -> None:
        """Unpack what is absent. Raises UsageError as `unpack` does."""
        if self.params.archive and self._root_is_absent:
            unpack_into(self.params.archive, self.params.root)
        if self.params.segmentations and self._masks_are_absent:
            unpack(self.params.segmentations, os.path.join(self.params.root, _MASKS))

    @property
    def _root_is_absent(self) -> bool:
        return bool(self.params.archive) and not os.path.exists(self.params.root)

    @property
    def _masks_are_absent(self) -> bool:
        root = self.params.root
        places = (root, os.path.join(root, _FOLDER), os.path.dirname(os.path.abspath(root)))
        return bool(self.params.segmentations) and not any(os.path.isdir(os.path.join(at, _MASKS)) for at in places)

    def _masks(self, top: str, listed: Files) -> dict[str, Mask]:
        """Segmentations by class/name, without extension: from the folder of the text files, or the one beside it."""
        for folder in (f"{top}{_MASKS}/", f"{_MASKS}/"):
            inside = {path.removeprefix(folder): file for path, file in listed.items() if path.startswith(folder)}
            if inside:
                return {_stem(path): Mask(file.path, file.stamp) for path, file in inside.items() if not file.trouble}
        parent = _parent(self.params.root)
        if top or parent is None or _MASKS not in Tree(parent).folders():
            return {}
        beside = list_files(f"{parent}/{_MASKS}")
        return {_stem(file.path): Mask(file.uri, file.stamp) for file in beside if not file.trouble}


def _found(image: CubImage, folder: str, listed: Files, masks: Mapping[str, Mask]) -> Found:
    path = f"{folder}/{image.name}"
    file = listed.get(path, ListedFile(path, path, "", _ABSENT))
    mask = masks.get(_stem(image.name))
    return Found(
        image_id=image.name,
        uri=path,
        stamp=file.stamp,
        label_name=image.class_name,
        split=image.split,
        boxes=(image.box,),
        masks=() if mask is None else (mask,),
        trouble=file.trouble,
    )


def _left_out(folder: str, found: Sequence[Found], listed: Files, masked: bool) -> list[str]:
    """In words: images that no text file names, and images without a segmentation where others have one."""
    named = {image.uri for image in found}
    unnamed = sum(path.startswith(folder) and may_be_image(path) and path not in named for path in listed)
    bare = sum(not image.masks for image in found) if masked else 0
    words = [f"{unnamed} files in {folder.rstrip('/')} that {IMAGES} does not name"] if unnamed else []
    return [*words, *([f"segmentations of {bare} images: there are none"] if bare else [])]


def _stem(path: str) -> str:
    return path.rpartition(".")[0]


def _parent(root: str) -> str | None:
    """The folder or URI that holds the root; None where there is none."""
    if "://" not in root:
        return os.path.dirname(os.path.abspath(root))
    parent = root.rstrip("/").rpartition("/")[0]
    return None if parent.endswith("/") else parent
