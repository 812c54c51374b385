"""Which rows of a published classifier are kept for a network of other classes."""

import re
from collections.abc import Mapping, Sequence

import torch

from stages.vision.backbones.sources import WeightsError
from stages.vision.imagenet_classes import imagenet_numbers, imagenet_wnids

__all__ = ["rows_of_classes"]

_LAYER = "classifier."
_WNID = re.compile(r"n\d{8}")

State = Mapping[str, torch.Tensor]


def rows_of_classes(state: State, classes: Sequence[str], source: str) -> State:
    """A state dict whose classifier of ImageNet's 1,000 classes is cut to the rows of some classes, in their order.

    state: by our names; a classifier of another number of classes stays as it is. classes: wnids of the network's
    classes; 1,000 names of which none is a wnid are taken to be ImageNet's classes in its order.

    Raises: WeightsError that names the first class that is not among the 1,000.
    """
    known = imagenet_wnids()
    cut = [name for name in state if name.startswith(_LAYER) and state[name].shape[:1] == (len(known),)]
    if not cut or (len(classes) == len(known) and not any(map(_WNID.fullmatch, classes))):
        return state
    try:
        rows = torch.tensor(imagenet_numbers(classes))
    except ValueError as error:
        raise WeightsError(
            f"weights {source} have a head of ImageNet's {len(known)} classes, whose rows are kept by name, and "
            f"{error}: load them with a fresh head (keep_head: false)"
        ) from error
    return {**state, **{name: state[name][rows.to(state[name].device)] for name in cut}}
