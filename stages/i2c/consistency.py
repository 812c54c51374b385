"""The two consistency losses of I2C, on seed vectors (Zhang et al., ECCV 2020, eq. 1, 2 and 5)."""

import torch

from stages.i2c.parameters import DISTANCES, Distance
from stages.vision.tensor_normalisation import at_least_float32

__all__ = ["class_sums", "distances", "global_consistency", "stochastic_consistency"]


def distances(one: torch.Tensor, other: torch.Tensor, distance: Distance = "euclidean") -> torch.Tensor:
    """Distances along the last axis, in float32 whatever the inputs.

    euclidean: ``|a - b|``, with gradient 0 where both are equal; in the released code, whose weights 0.008 and 0.001
    were tuned with it. squared: ``|a - b|^2``, as the paper prints.

    one, other: ``(..., D)``. Returns: ``(...)``. Raises: ValueError for an unknown distance.
    """
    if distance not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(DISTANCES)}, got {distance!r}")
    difference = at_least_float32(one) - at_least_float32(other)
    if distance == "squared":
        return difference.square().sum(dim=-1)
    return torch.linalg.vector_norm(difference, dim=-1)


def stochastic_consistency(vectors: torch.Tensor, distance: Distance = "euclidean") -> torch.Tensor:
    """L_sc: the mean distance between the k-th seeds of two images of a class, over seeds and pairs (eq. 1).

    vectors: ``(B, K, D)``; images 2i and 2i + 1 are a pair of one class. Returns: a scalar.
    Raises: ValueError for an odd number of images, or none.
    """
    images, seeds, dimension = vectors.shape
    if images % 2 or not images:
        raise ValueError(f"images must come in pairs, got {images}")
    pairs = vectors.view(images // 2, 2, seeds, dimension)
    return distances(pairs[:, 0], pairs[:, 1], distance).mean()


def class_sums(vectors: torch.Tensor, labels: torch.Tensor, num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of the seed vectors of each class and how many there are: ``a^y`` of eq. 2 is their quotient.

    Computed as a product with a matrix of zeros and ones, because the order of scattered additions on a GPU varies.

    vectors: ``(B, K, D)``; labels: ``(B,)`` below `num_classes`, Y. Returns: ``(Y, D)`` and ``(Y,)``, float32.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        of_image = at_least_float32(vectors).sum(dim=1)
        member = (labels == torch.arange(num_classes, device=labels.device).unsqueeze(1)).to(of_image.dtype)
        return member @ of_image, member.sum(dim=1) * vectors.shape[1]


def global_consistency(
    sums: torch.Tensor,
    counts: torch.Tensor,
    centres: torch.Tensor,
    compared: torch.Tensor,
    distance: Distance = "euclidean",
) -> torch.Tensor:
    """L_gc: the mean distance of the batch's classes to their centres (eq. 5).

    A class that is not compared counts as distance 0, so the weight of the others does not depend on it.

    sums, counts: of `class_sums`; centres: ``(Y, D)``, taken as constant; compared: ``(Y,)`` bool. Returns: a scalar.
    """
    present = counts > 0
    means = sums / counts.clamp(min=1).unsqueeze(1)
    found = distances(means, centres.detach(), distance)
    return torch.where(present & compared, found, 0).sum() / present.sum()
