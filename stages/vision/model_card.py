"""The card of a model: its description, with all that is needed to build its network again."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from stages.vision.preprocessing import IMAGENET, LARGEST_INPUT, Preprocessing, read_preprocessing

__all__ = ["CARD", "VERSION", "WEIGHTS", "ModelCard", "read_card"]

WEIGHTS = "model.safetensors"
CARD = "card.json"
"""The two files of a model artifact."""

VERSION = 2

_KINDS = {
    **dict.fromkeys(("method", "backbone", "weights_hash"), (str, "text")),
    **dict.fromkeys(("input_size", "seed"), (int, "integer")),
    **dict.fromkeys(("parts", "about"), (dict, "object")),
    "classes": (list, "list"),
}
"""Field -> the type that JSON has for it, and its name."""

Said: TypeAlias = "bool | int | float | str | Sequence[Said] | Mapping[str, Said] | None"
"""Values on a card: JSON."""


@dataclass(frozen=True)
class ModelCard:
    """A trained model.

    method: which stage or technique trained it. backbone: name in the table of backbones. classes: names by label;
    empty for a model that predicts none. input_size: side of the network's input, pixels. parts: settings of the parts
    besides backbone and classifier, needed to build the network; empty for an ordinary classifier. about: how it was
    trained, for people. weights_hash: SHA-256 of its weights. preprocessing: of its input images. version: of this
    record.
    """

    method: str
    backbone: str
    classes: tuple[str, ...]
    input_size: int
    seed: int
    parts: Mapping[str, Said] = field(default_factory=dict)
    about: Mapping[str, Said] = field(default_factory=dict)
    weights_hash: str = ""
    preprocessing: Preprocessing = IMAGENET
    version: int = VERSION

    @property
    def num_classes(self) -> int:
        """Number of classes; a network that predicts none is built with one."""
        return max(1, len(self.classes))

    @property
    def is_classifier(self) -> bool:
        """Whether its network is an ordinary classifier: a backbone with a classifier layer and nothing else."""
        return bool(self.classes) and not self.parts

    def number(self, name: str) -> float:
        """A numeric value of `parts`. Raises ValueError if the card has none of this name."""
        value = self.parts.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"the card of a {self.method} model has no number {name!r}")
        return value

    def check_labels(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Refuse images whose label and class name differ from the card's; raises ValueError for the first one."""
        if not self.classes:
            return
        for row in rows:
            label, name = row["label"], row["label_name"]
            known = self.classes[label] if isinstance(label, int) and 0 <= label < len(self.classes) else None
            if known != name:
                image = f"image {row['image_id']} is of class {label}, {name!r}"
                raise ValueError(f"{image}; the model's class of that number is {known!r}")

    def to_bytes(self) -> bytes:
        """The card as JSON; equal cards give equal bytes."""
        said = {**dataclasses.asdict(self), "preprocessing": self.preprocessing.said()}
        return json.dumps(said, indent=1, sort_keys=True).encode()


def read_card(data: bytes) -> ModelCard:
    """Parse a card, which may come from anywhere. Raises ValueError for another version, or an invalid card.

    Cards of version 1 have no preprocessing: all their networks used `IMAGENET`.
    """
    try:
        said = json.loads(data)
    except RecursionError as error:
        raise ValueError("a model card was expected, not an endless list") from error
    version = said.get("version") if isinstance(said, dict) else said
    if isinstance(said, dict) and type(version) is int and version == 1:
        said, version = {**said, "version": VERSION, "preprocessing": IMAGENET.said()}, VERSION
    if not isinstance(said, dict) or type(version) is not int or version != VERSION:
        raise ValueError(f"a model card of version {VERSION} was expected, not {version}")
    known = {own.name for own in dataclasses.fields(ModelCard)}
    if missing := sorted(known - said.keys()):
        raise ValueError(f"a model card without {missing[0]}")
    for name, (kind, words) in _KINDS.items():
        if not isinstance(said[name], kind) or isinstance(said[name], bool):
            raise ValueError(f"a model card whose {name} is no {words}")
    if not all(isinstance(name, str) for name in said["classes"]) or not 1 <= said["input_size"] <= LARGEST_INPUT:
        raise ValueError("a model card whose classes are no texts, or whose input_size is no size")
    try:
        preprocessing = read_preprocessing(said["preprocessing"])
    except ValueError as error:
        raise ValueError(f"a model card whose preprocessing is invalid: {error}") from error
    of_records = {"classes": tuple(said["classes"]), "preprocessing": preprocessing}
    return ModelCard(**{**{name: said[name] for name in known}, **of_records})
