"""Networks without values, on torch's meta device: they take no memory, and tell names and shapes."""

import torch

from stages.vision.backbones.build import build
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.registry import input_size

__all__ = ["meta_images", "meta_network"]


def meta_network(name: str, num_classes: int, size: int | None = None) -> LocalizerNetwork:
    """A network in eval mode through which an image has passed.

    size: side of its input, pixels; None: its own. Raises: ValueError for an unknown network, or a size that it does
    not take; ModuleNotFoundError without the library that builds it.
    """
    side = size or input_size(name)
    with torch.device("meta"):
        network = build(name, num_classes).eval()
    try:
        with torch.inference_mode(), torch.device("meta"):
            network(meta_images(side))
    except NotImplementedError:
        return network  # an operation without a form for meta tensors says nothing of the size
    except (AssertionError, RuntimeError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} takes no images of {side} pixels: {said[:300]}") from error
    return network


def meta_images(side: int) -> torch.Tensor:
    """Two images ``(2, 3, S, S)``."""
    return torch.empty(2, 3, side, side, device="meta")
