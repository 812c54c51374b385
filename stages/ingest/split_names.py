"""Splits that the names of files and folders say, by the words that Hugging Face's `datasets` looks for."""

import re
from collections.abc import Mapping, Sequence

from pipeline.base.errors import UsageError

_WORDS: Mapping[str, Sequence[str]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLIT_OF: Mapping[str, str] = {word: split for split, words in _WORDS.items() for word in words}
"""Word, in small letters -> train, val or test."""
_BETWEEN = re.compile(r"[-._ 0-9]+")


def split_of(path: str) -> str | None:
    """The split that a path says: that of its first folder which names one, else that of its file name."""
    *folders, name = path.lower().split("/")
    for part in (*folders, name.rpartition(".")[0] or name):
        for word in _BETWEEN.split(part):
            if word in SPLIT_OF:
                return SPLIT_OF[word]
    return None


def split_of_folders(folder: str) -> str | None:
    """The split that a folder's path says: that of the first part which is such a word and nothing more."""
    return next((SPLIT_OF[part] for part in folder.lower().split("/") if part in SPLIT_OF), None)


def splits_of(paths: Sequence[str]) -> dict[str, str]:
    """The split of each file; `train` where no name says one. Raises UsageError where only some do."""
    named = {path: split_of(path) for path in paths}
    odd = [path for path, split in named.items() if split is None]
    if odd and len(odd) < len(named):
        other = next(path for path, split in named.items() if split is not None)
        raise UsageError(f"dataset: {odd[0]}: its name says no split, as that of {other} does")
    return {path: split or "train" for path, split in named.items()}


def split_word(word: str, where: str) -> str:
    """The split that a table says. where: what the error starts with. Raises UsageError for another word."""
    split = SPLIT_OF.get(word.strip().lower())
    if split is None:
        raise UsageError(f"{where}: {word!r:.40} is no split: train, val (validation) or test")
    return split
