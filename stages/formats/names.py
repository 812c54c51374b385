"""File names of exported pictures, unique within one folder on any file system."""

import hashlib
import unicodedata

__all__ = ["folded", "plain_name", "unique_name"]

LONGEST = 200
"""Bytes of a name, so that an ending and a temporary name fit in the 255 of file systems."""


def plain_name(image_id: str) -> str:
    """A file name without extension: slashes become `__`, and dots, at which tools cut names, `_`."""
    folder, slash, file = image_id.rpartition("/")
    stem, dot, _ = file.rpartition(".")
    name = f"{folder}{slash}{stem if stem and dot else file}".replace("/", "__").replace(".", "_")
    return name.encode()[:LONGEST].decode(errors="ignore") or "_"


def folded(name: str) -> str:
    """A key that is equal for names which differ only in letter case or Unicode form, as some file systems see them."""
    return unicodedata.normalize("NFC", name).casefold()


def unique_name(image_id: str) -> str:
    """The name of an id whose plain name another id has too: ends in eight digits of the id's SHA-256."""
    cut = plain_name(image_id).encode()[: LONGEST - 9].decode(errors="ignore")
    return f"{cut}_{hashlib.sha256(image_id.encode()).hexdigest()[:8]}"
