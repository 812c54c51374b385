"""What `weakbox label` was asked for, and how a run root remembers it: `review` and the next call say it again."""

import shlex
from collections.abc import Mapping
from typing import NamedTuple

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.config.places import absolute
from pipeline.store.layout import LABEL
from pipeline.store.sealed import value_of
from pipeline.store.store import DamagedError, Store
from stages.formats.capabilities import FORMATS, Format
from stages.vision.backbones.weight_names import is_file

__all__ = ["BACKBONE", "LabelRequest", "recall", "remember"]

BACKBONE = "efficientnet_lite0"


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
    def placed(self) -> "LabelRequest":
        """The same from every folder. Raises UsageError for a place that has no absolute form."""
        try:
            return self._replace(
                root=absolute(self.root),
                out=absolute(self.out),
                weights=absolute(self.weights) if self.weights and is_file(self.weights) else self.weights,
                reviewed=absolute(self.reviewed) if self.reviewed else None,
                run_root=absolute(self.run_root) if self.run_root else None,
            )
        except ValueError as error:
            raise UsageError(f"label: {error}") from error

    def gives_other_boxes(self, other: "LabelRequest") -> bool:
        """Whether another request is about other pictures, another network, or other boxes that somebody drew."""
        names = ("root", "network", "weights", "reviewed")
        return any(getattr(self, name) != getattr(other, name) for name in names)

    def command(self, reviewed: str) -> str:
        """The command line that does the same with boxes that somebody drew."""
        words = ["weakbox", "label", self.root, "--out", self.out, "--format", self.format]
        words += ["--network", self.network] if self.network != BACKBONE else []
        words += ["--weights", self.weights] if self.weights else []
        words += ["--keep", str(self.keep)] if self.keep != self._field_defaults["keep"] else []
        words += ["--run-root", self.run_root] if self.run_root else []
        words += ["--ray"] if self.ray else []
        return shlex.join([*words, "--reviewed", reviewed, "--overwrite"])


def remember(store: Store, placed: LabelRequest) -> None:
    """Write down what a run root was made for."""
    store.write(LABEL, placed._asdict())


def recall(store: Store) -> LabelRequest | None:
    """What a run root was made for; None for one of another command, or where the note is damaged."""
    try:
        return store.read(LABEL, _request)
    except DamagedError:
        return None


def _request(said: Mapping[str, Json]) -> LabelRequest:
    form = next((known for known in FORMATS if known == said.get("format")), None)
    if form is None:
        raise ValueError("it names no format")
    return LabelRequest(
        root=value_of(said, "root", str),
        out=value_of(said, "out", str),
        format=form,
        network=value_of(said, "network", str),
        weights=_text(said, "weights"),
        keep=value_of(said, "keep", float),
        reviewed=_text(said, "reviewed"),
        run_root=_text(said, "run_root"),
        ray=value_of(said, "ray", bool),
    )


def _text(said: Mapping[str, Json], name: str) -> str | None:
    return None if said.get(name) is None else value_of(said, name, str)
