"""File names of exported pictures: one folder, no two names that any file system takes for the same."""

import hashlib
import unicodedata

__all__ = ["folded", "plain_name", "unique_name"]

LONGEST = 200
"""Bytes of a name, so that an ending and a temporary name fit in the 255 of file systems."""


def plain_name(image_id: str) -> str:
    """A file name without ending: folders become `__`, and a dot, at which tools cut names, `_`."""
    folder, slash, file = image_id.rpartition("/")
    stem, dot, _ = file.rpartition(".")
    name = f"{folder}{slash}{stem if stem and dot else file}".replace("/", "__").replace(".", "_")
    return name.encode()[:LONGEST].decode(errors="ignore") or "_"


def folded(name: str) -> str:
    """The same for names that differ in letter case or in the form of an accent alone, as on some file systems."""
    return unicodedata.normalize("NFC", name).casefold()


def unique_name(image_id: str) -> str:
    """The name of an id whose plain one another id has too: with eight digits of the id's SHA-256."""
    cut = plain_name(image_id).encode()[: LONGEST - 9].decode(errors="ignore")
    return f"{cut}_{hashlib.sha256(image_id.encode()).hexdigest()[:8]}"
