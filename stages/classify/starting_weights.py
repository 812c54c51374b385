"""Check starting weights against a network by names and shapes, before anything is fetched or trained."""

from collections.abc import Sequence

import torch

from stages.vision.backbones.build import build
from stages.vision.backbones.meta import meta_network
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.packages import packaged_bytes
from stages.vision.backbones.weight_names import PACKAGE
from stages.vision.backbones.weight_shapes import weight_shapes
from stages.vision.backbones.weights import fit

__all__ = ["check_installed", "check_start", "check_weights"]


def check_installed(network: str, source: str) -> None:
    """Refuse a network and weights of packages that are absent. Raises: ModuleNotFoundError, ValueError."""
    with torch.device("meta"):
        build(network, 2)
    if source.startswith(PACKAGE):
        packaged_bytes(source)


def check_weights(network: LocalizerNetwork, source: str, keep_head: bool, classes: Sequence[str] = ()) -> None:
    """Refuse weights that are missing or do not fit; weights that would have to be fetched for it are not checked.

    keep_head, classes: as in `load_state`. Raises: WeightsError.
    """
    shapes = weight_shapes(source)
    if shapes is not None:
        fit(network, shapes, source, keep_head, classes)


def check_start(network: LocalizerNetwork, backbone: str, source: str) -> None:
    """Refuse to start from a classifier of another backbone whose layers do not fit. Raises: WeightsError."""
    fit(network, meta_network(backbone, 2).state_dict(), source, keep_head=False)
