"""Networks of timm, which is an optional package."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import torch
from torch import nn

_GET_TIMM = "the package timm is not installed: pip install 'weakbox[timm]'"

__all__ = ["Published", "TimmBody", "timm_body", "timm_config", "timm_input_size", "timm_network", "timm_published"]


class TimmBody(nn.Module):
    """Interface of timm's networks: features of images ``(B, 3, S, S)``, and the head that reads these features."""

    forward_features: Callable[[torch.Tensor], torch.Tensor]
    forward_head: Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Published:
    """Metadata of the weights that timm publishes for a network.

    input_size: side of their images, pixels. classifiers: module paths of the classifier layers; some networks have
    several. classes: how many; 0: the weights have no classifier.
    """

    input_size: int
    classifiers: tuple[str, ...]
    classes: int


def timm_network(name: str, **options: Any) -> nn.Module:
    """A network of timm with fresh weights.

    Raises: ModuleNotFoundError that says how to get timm; ValueError for a name that timm does not know.
    """
    timm = _timm(name)
    network: nn.Module = timm.create_model(name, pretrained=False, **options)
    return network


def timm_body(name: str, num_classes: int = 0, output_stride: int | None = None) -> TimmBody:
    """A network of timm with fresh weights, for images of any size where possible. num_classes: 0: no classifier.

    output_stride: see `registry.backbone_name`. Raises: ModuleNotFoundError and ValueError as `timm_network`, also for
    a network that timm cannot build, or whose strides cannot be changed.
    """
    strides = {} if output_stride is None else {"output_stride": output_stride}
    refusals = []
    for sizes in ({"dynamic_img_size": True}, {}):
        try:
            return cast(TimmBody, timm_network(name, num_classes=num_classes, **sizes, **strides))
        except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
            refusals.append(error)
    if strides:
        raise ValueError(f"timm's {name} has no output_stride {output_stride}") from refusals[-1]
    raise ValueError(f"timm cannot build {name!r} from its name alone: {refusals[-1]}") from refusals[-1]


def timm_input_size(name: str) -> int:
    """Side of the input, pixels, by timm's metadata of a network. Raises as `timm_network` does."""
    return timm_published(name).input_size


def timm_published(name: str) -> Published:
    """Metadata of the published weights of a network. Raises as `timm_network` does."""
    config = timm_config(name)
    if config is None:
        return Published(224, (), 0)
    named = config.classifier or ()
    classifiers = (named,) if isinstance(named, str) else tuple(named)
    return Published(int(config.input_size[-1]), classifiers, int(config.num_classes or 0))


def timm_config(name: str) -> Any:
    """The pretrained_cfg of a network of timm, with or without a tag; None where nothing is published for it.

    Raises: as `timm_network` does, and ValueError for a tag that timm does not know, with the nearest.
    """
    timm = _timm(name)
    try:
        return timm.get_pretrained_cfg(name, allow_unregistered=True)
    except RuntimeError as error:
        raise ValueError(f"timm publishes no {name!r}: {_nearest(name, timm.list_pretrained())}") from error


def _timm(name: str) -> ModuleType:
    """The package timm; raises if it is missing or does not know the network."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"network {name}: {_GET_TIMM}") from error
    if not timm.is_model(name.split(".")[0]):
        raise ValueError(f"timm knows no network {name!r}: {_nearest(name, timm.list_models())}")
    return timm


def _nearest(name: str, known: list[str]) -> str:
    return f"did you mean {difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.0)[0]!r}?"
