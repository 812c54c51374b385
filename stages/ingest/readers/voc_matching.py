"""Matching the annotations of a VOC data set to images: by their own file names, else by their `filename`."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stages.formats.file_names import normalised
from stages.ingest.listing import ListedFile
from stages.ingest.readers.voc_files import ANNOTATIONS, IMAGES, name_of, stem_of
from stages.ingest.readers.voc_xml import Annotation
from stages.ingest.tally import Tally

__all__ = ["Given", "match"]


class Given(NamedTuple):
    """An annotation and its file."""

    file: ListedFile
    said: Annotation

    @property
    def own_name(self) -> str:
        """The name of the annotation file, without .xml."""
        name = name_of(self.file)
        return stem_of(name) if name.lower().endswith(".xml") else name

    @property
    def filename(self) -> str:
        """The last part of its `filename`, which is often a path on another machine; "" where there is none."""
        return normalised(self.said.filename.replace("\\", "/").rsplit("/", 1)[-1])


def match(
    images: Sequence[ListedFile], annotations: Iterable[Given], left_out: Tally, notes: Tally
) -> dict[str, Given]:
    """Path of an image -> its annotation.

    left_out: counts annotations without an image. notes: counts those whose file name and `filename` disagree.
    """
    known = _Images(images)
    found: dict[str, Given] = {}

    def take(given: Given, names: Sequence[str]) -> ListedFile | None:
        image = known.find(given, names)
        if image is not None and found.setdefault(image.path, given) is given:
            return image
        return None

    unmatched = []
    for given in annotations:
        image = take(given, [given.own_name])
        if image is None:
            unmatched.append(given)
        elif given.filename not in ("", name_of(image), stem_of(name_of(image))):
            notes.add("annotations matched to an image by their own name, not by `filename`", given.file.path)
    for given in unmatched:
        if take(given, [given.filename, stem_of(given.filename)]) is None:
            left_out.add("annotations whose image is absent, is ambiguous, or has another annotation", given.file.path)
        else:
            notes.add("annotations matched to an image by `filename`, not by their own name", given.file.path)
    return found


class _Images:
    """Images by name, with and without extension, and by the folder that pairs with a folder of annotations."""

    def __init__(self, images: Iterable[ListedFile]) -> None:
        self._near: dict[tuple[str, str], list[ListedFile]] = defaultdict(list)
        self._anywhere: dict[str, list[ListedFile]] = defaultdict(list)
        for image in images:
            for name in {name_of(image), stem_of(name_of(image))}:
                self._near[_place(image), name].append(image)
                self._anywhere[name].append(image)

    def find(self, given: Given, names: Iterable[str]) -> ListedFile | None:
        """The image of one of the names: the one in the folder beside the annotation's, else the only one anywhere.

        Of cat.jpg and cat.png it is the one that the annotation's `filename` names.
        """
        for name in names:
            for found in (self._near.get((_place(given.file), name), []), self._anywhere.get(name, [])):
                exact = [image for image in found if name_of(image) == given.filename]
                for chosen in (found, exact):
                    if len(chosen) == 1:
                        return chosen[0]
        return None


def _place(file: ListedFile) -> str:
    """The folder of a file without parts such as `images` or `annotations`, so that both kinds have the same."""
    folders = file.path.split("/")[:-1]
    return "/".join(folder for folder in folders if folder.lower() not in ANNOTATIONS | IMAGES)
