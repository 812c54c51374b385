"""Splits in the names of files and folders, by the words that Hugging Face's `datasets` looks for."""

import re
from collections.abc import Mapping, Sequence

from pipeline.base.errors import UsageError

_WORDS: Mapping[str, Sequence[str]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLIT_OF: Mapping[str, str] = {word: split for split, words in _WORDS.items() for word in words}
"""Lower-case word -> train, val or test."""
_BETWEEN = re.compile(r"[-._ 0-9]+")


def split_of(path: str) -> str | None:
    """The split that a path names: in its first folder that names one, else in its file name; None: in neither."""
    *folders, name = path.lower().split("/")
    for part in (*folders, name.rpartition(".")[0] or name):
        for word in _BETWEEN.split(part):
            if word in SPLIT_OF:
                return SPLIT_OF[word]
    return None


def split_of_folders(folder: str) -> str | None:
    """The split that a folder's path names, in its first part that is exactly such a word; None: in none."""
    return next((SPLIT_OF[part] for part in folder.lower().split("/") if part in SPLIT_OF), None)


def splits_of(paths: Sequence[str]) -> dict[str, str]:
    """The split of each file; `train` if no name has one. Raises UsageError if only some names have one."""
    named = {path: split_of(path) for path in paths}
    odd = [path for path, split in named.items() if split is None]
    if odd and len(odd) < len(named):
        other = next(path for path, split in named.items() if split is not None)
        raise UsageError(f"dataset: {odd[0]}: its name says no split, as that of {other} does")
    return {path: split or "train" for path, split in named.items()}


def split_word(word: str, where: str) -> str:
    """The split for a word in a table. where: what the error starts with. Raises UsageError for another word."""
    split = SPLIT_OF.get(word.strip().lower())
    if split is None:
        raise UsageError(f"{where}: {word!r:.40} is no split: train, val (validation) or test")
    return split
