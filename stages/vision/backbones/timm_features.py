"""The features of a network of timm as a map, and the layers on the way there."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import ClassVar, NamedTuple, cast

import torch
from torch import nn

from stages.vision.backbones.feature_form import FeatureForm
from stages.vision.backbones.libraries import TimmBody
from stages.vision.backbones.passages import Passage, passing
from stages.vision.backbones.tap_names import TapNames
from stages.vision.backbones.taps import tapped

__all__ = ["Inside", "TimmFeatures", "passage_name"]


class Inside(NamedTuple):
    """A layer whose output is no map: its module path in the body, and how it lays out what it puts out."""

    path: str
    form: FeatureForm


def passage_name(tap: str) -> str:
    """The name of the submodule of ``passages`` that exposes a tap."""
    return tap.replace(".", "_")


class TimmFeatures(nn.Module):
    """The features of a network of timm before pooling and classifier, as a map ``(B, K, h, w)``.

    body: the network, without its classifier. form: how it lays out its features. inside: layers whose outputs are no
    maps, by tap name: the submodule ``passages.<name>`` (with _ for .) exposes the layer's output as a map.
    keys: module path in the body of the last attention's projection of keys, or of queries, keys and values
    together: the submodule `keys` puts out the patches' keys as a map, heads concatenated, as the projection gives
    them; nothing depends on its output. tap_names: the layers that stages may read; None: those of the table of
    backbones.
    """

    child: ClassVar[str] = "body"
    """Name of the network's submodule in names of weights."""

    def __init__(
        self, body: nn.Module, form: FeatureForm, inside: Mapping[str, Inside] | None = None, keys: str | None = None
    ) -> None:
        super().__init__()
        self.add_module(self.child, body)
        self.form = form
        self.tap_names: TapNames | None = None
        self._inside = {passage_name(tap): layer for tap, layer in (inside or {}).items()}
        self.passages = nn.ModuleDict({name: Passage() for name in self._inside})
        self.keys, self._projection = Passage(), keys

    @property
    def network(self) -> TimmBody:
        """The network of timm."""
        return cast(TimmBody, getattr(self, self.child))

    def raw(self, images: torch.Tensor) -> torch.Tensor:
        """Features of normalised images ``(B, 3, S, S)`` as timm lays them out."""
        with ExitStack() as stack:
            for name, (path, form) in self._inside.items():
                passage = cast(Passage, self.passages[name])
                turned = partial(form.to_map, images=images)
                stack.enter_context(passing(self.network.get_submodule(path), passage, turned, form.back))
            if self._projection is None or not self.keys.observed:
                return self.network.forward_features(images)
            projected = stack.enter_context(tapped(self.network, self._projection))
            features = self.network.forward_features(images)
        keys = projected.output if self._projection.endswith("k_proj") else projected.output.chunk(3, dim=-1)[1]
        self.keys(self.form.to_map(keys, images))
        return features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The map ``(B, K, h, w)`` of normalised images ``(B, 3, S, S)``."""
        return self.form.to_map(self.raw(images), images)
