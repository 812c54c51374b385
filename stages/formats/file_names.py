"""File names: which cannot be those of images, and which are equal except for their Unicode form."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

V = TypeVar("V")

_TEXT = "xml json jsonl csv tsv txt md rst html htm yaml yml ini cfg toml log py ipynb sh pdf doc docx xls xlsx url"
_DATA = "db sqlite pkl pickle npy npz mat h5 hdf5 parquet arrow feather lst idx rec tfrecord pth pt safetensors onnx"
_OTHER = "zip tar gz tgz bz2 xz 7z rar md5 sha256 bak tmp part crdownload mp4 avi mov mkv webm wav mp3"
_BESIDE = frozenset(f"{_TEXT} {_DATA} {_OTHER}".split())
"""Extensions of files that are no images. All other files count as images until they are opened."""
_FOLDERS = frozenset({"@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
"""Folders that operating systems and storage boxes leave behind."""


def may_be_image(path: str) -> bool:
    """Whether a path below a data root may be an image, by its names alone."""
    *folders, name = path.split("/")
    stem, dot, ending = name.rpartition(".")
    beside = bool(dot) and bool(stem) and ending.lower() in _BESIDE
    return not beside and _FOLDERS.isdisjoint(folders)


def left_out(paths: Iterable[str]) -> list[str]:
    """In words: files that are no images, by their extensions. Empty where there are none."""
    endings = Counter(f".{path.rsplit('.', 1)[-1].lower()}" if "." in path else path for path in paths)
    count = sum(endings.values())
    shown = ", ".join(f"{number} {ending}" for ending, number in endings.most_common(5))
    return [f"{count} files that are no images ({shown}{', ...' if len(endings) > 5 else ''})"] if count else []


def normalised(text: str) -> str:
    """A text in the Unicode form in which equal-looking texts are equal (NFC)."""
    return unicodedata.normalize("NFC", text)


class ByName(Generic[V]):
    """Values by name; a name in another Unicode form (macOS writes NFD) finds them too."""

    def __init__(self, values: Mapping[str, V]) -> None:
        self._values = values
        self._normalised = {normalised(name): name for name in values if not name.isascii()}

    def get(self, name: str) -> V | None:
        """The value; None where no such name is known."""
        found = self.key(name)
        return None if found is None else self._values[found]

    def key(self, name: str) -> str | None:
        """The name as it is written in `values`; None where no such name is known."""
        return name if name in self._values else self._normalised.get(normalised(name))
