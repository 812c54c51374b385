"""What `weakbox label` was asked for, and how a run root remembers it: `review` and the next call say it again."""

import shlex
from collections.abc import Mapping
from typing import NamedTuple

from pipeline.base.json_types import Json
from pipeline.config.places import absolute
from pipeline.store.sealed import value_of
from pipeline.store.store import DamagedError, Store
from stages.formats.capabilities import Format

__all__ = ["BACKBONE", "LabelRequest", "Remembered", "recall", "remember"]

BACKBONE = "efficientnet_lite0"
_FILE = "label.json"


class LabelRequest(NamedTuple):
    """The options of `label`, with their defaults."""

    root: str
    out: str
    format: Format = "coco"
    network: str = BACKBONE
    weights: str | None = None
    keep: float = 0.8
    reviewed: str | None = None
    run_root: str | None = None
    ray: bool = False
    overwrite: bool = False

    @property
    def work(self) -> str:
        """The run root."""
        return self.run_root or f"{self.out.rstrip('/')}-run"

    @property
    def words(self) -> list[str]:
        """The command line, from every folder the same, without --reviewed and --overwrite."""
        words = ["weakbox", "label", absolute(self.root), "--out", absolute(self.out), "--format", self.format]
        words += ["--network", self.network] if self.network != BACKBONE else []
        words += ["--weights", self.weights] if self.weights else []
        words += ["--keep", str(self.keep)] if self.keep != self._field_defaults["keep"] else []
        words += ["--run-root", absolute(self.run_root)] if self.run_root else []
        return [*words, "--ray"] if self.ray else words


class Remembered(NamedTuple):
    """The command that made a run root, and the file of the boxes that were drawn for it; empty: none."""

    words: tuple[str, ...]
    reviewed: str

    def command(self, reviewed: str) -> str:
        """The command line that does the same with boxes that somebody drew."""
        return shlex.join([*self.words, "--reviewed", reviewed, "--overwrite"])


def remember(store: Store, asked: LabelRequest) -> None:
    """Write down what a run root was made for."""
    store.write(_FILE, {"words": asked.words, "reviewed": absolute(asked.reviewed) if asked.reviewed else ""})


def recall(store: Store) -> Remembered | None:
    """What a run root was made for; None for one of another command, or where the note is damaged."""
    try:
        return store.read(_FILE, _remembered)
    except DamagedError:
        return None


def _remembered(said: Mapping[str, Json]) -> Remembered:
    words = tuple(str(word) for word in value_of(said, "words", list))
    return Remembered(words, value_of(said, "reviewed", str))
