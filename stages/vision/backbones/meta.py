"""Networks on torch's meta device: they have names and shapes, but no values and take no memory."""

import torch

from stages.vision.backbones.build import build
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.registry import input_size

__all__ = ["meta_images", "meta_network"]


def meta_network(name: str, num_classes: int, size: int | None = None) -> LocalizerNetwork:
    """Build a network on the meta device, in eval mode, and pass an image through it.

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
        return network  # an operation without meta support: the size cannot be checked
    except (AssertionError, RuntimeError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} takes no images of {side} pixels: {said[:300]}") from error
    return network


def meta_images(side: int) -> torch.Tensor:
    """Two images ``(2, 3, S, S)`` float32 without values."""
    return torch.empty(2, 3, side, side, device="meta")
