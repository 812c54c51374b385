"""Object seeds: the positions of an image that I2C compares with those of other images of its class.

Zhang et al., "Inter-Image Communication for Weakly Supervised Localization", ECCV 2020, section 3.1. Nothing here
waits for the GPU: regions of any size are handled by one sort over the positions of each map.
"""

from collections.abc import Callable

import torch

from stages.i2c.parameters import SEED_RULES, SeedRule
from stages.vision.tensor_normalisation import min_max

__all__ = ["object_region", "object_seeds", "seed_vectors"]


def object_region(maps: torch.Tensor, threshold: float = 0.7) -> torch.Tensor:
    """Where the min-max normalised class map exceeds the threshold delta.

    The position of the maximum always belongs to it; for a constant or not finite map the region is one position.

    maps: ``(B, h, w)``, each image's map of its label, of any float type. Returns: ``(B, h, w)`` bool, no gradient.
    Raises: ValueError for a threshold outside [0, 1).
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must be in [0, 1), got {threshold}")
    normalised = min_max(maps.detach()).flatten(1)
    region = (normalised > threshold).scatter(1, normalised.argmax(dim=1, keepdim=True), True)
    return region.view_as(maps)


def object_seeds(
    region: torch.Tensor,
    number: int = 3,
    rule: SeedRule = "random",
    rand: Callable[[int, int], torch.Tensor] = torch.rand,
) -> torch.Tensor:
    """Choose K positions of each image's object region; a region with fewer repeats its positions in the same order.

    random: each set of K positions is equally likely (the paper). raster: the first K row by row, which is what the
    released code does and how the published numbers came about.

    region: ``(B, h, w)`` bool with at least one position an image. rand: (B, h w) -> uniform numbers, for `random`.
    Returns: ``(B, K)`` int64 into the flattened ``h w`` grid. Raises: ValueError for an unknown rule or ``K < 1``.
    """
    if rule not in SEED_RULES or number < 1:
        raise ValueError(f"rule must be one of {', '.join(SEED_RULES)} and number >= 1, got {rule!r} and {number}")
    inside = region.flatten(1)
    positions = inside.shape[1]
    if rule == "random":
        keys = rand(*inside.shape).to(inside.device)
    else:
        keys = torch.arange(positions, 0, -1, device=inside.device, dtype=torch.float32).expand_as(inside)
    order = keys.masked_fill(~inside, -1).topk(min(number, positions), dim=1).indices
    slots = torch.arange(number, device=inside.device) % inside.sum(dim=1, keepdim=True)
    return order.gather(1, slots)


def seed_vectors(features: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
    """The features at the seeds; gradients flow back to these positions alone.

    features: the backbone's ``(B, D, h, w)``, before the head; seeds: ``(B, K)`` of `object_seeds`.
    Returns: ``(B, K, D)`` of the features' type.
    """
    index = seeds.unsqueeze(1).expand(-1, features.shape[1], -1)
    return features.flatten(2).gather(2, index).transpose(1, 2)
