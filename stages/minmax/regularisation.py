"""Common and full region regularisation of MinMaxCAM (Wang, Oramas and Tuytelaars 2021).

Stage II of a training step. Each image is masked by its class map, and the frozen network gives the descriptor of the
masked image. It should agree with those of the class's other images (common region: smaller maps) and with that of the
whole image (full region: larger maps). Only the linear classifier learns, by gradients through the network's *input*.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import interpolate

from stages.minmax.parameters import SCALES, Masking, Scale
from stages.vision.tensor_normalisation import at_least_float32, min_max

__all__ = [
    "Regularisation",
    "common_region",
    "frozen",
    "full_region",
    "localization_maps",
    "masked_descriptors",
    "stage_two",
]


@dataclass(frozen=True)
class Regularisation:
    """Stage II of one batch: the loss to differentiate, and CRR and FRR before their weights, for the log."""

    loss: torch.Tensor
    common: torch.Tensor
    full: torch.Tensor


def stage_two(
    backbone: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor,
    set_size: int = 5,
    weights: tuple[float, float] = (1.0, 1.0),
    scale: Scale = "mean",
    masking: Masking = "images",
) -> Regularisation:
    """``lambda1 CRR + lambda2 FRR`` of a batch of class sets (eq. 6); its gradient reaches `weight` alone.

    The backbone is in eval mode for both of its passes; its mode is restored afterwards. The first pass, without
    gradient, gives the features for the maps and the descriptors of whole images; only the second is differentiated.

    backbone: images -> features ``(B, K, h, w)``, not wrapped in DDP: add up the weight's gradients over workers.
    images: ``(N S, 3, H, W)`` normalised, the S = `set_size` images of a class side by side; labels: ``(N S,)``.
    weight: the linear classifier's ``(C, K)``. weights: lambda1 and lambda2. scale: see `full_region`. masking:
    ``features`` multiplies the first pass's features with the maps, in place of a second pass over masked images (the
    paper's table 2).
    """
    with frozen(backbone):
        with torch.no_grad():
            features = backbone(images)
            whole = at_least_float32(features).mean(dim=(2, 3))
        maps = localization_maps(features, weight, labels)
        if masking == "features":
            masked = (at_least_float32(features) * maps.unsqueeze(1)).mean(dim=(2, 3))
        else:
            masked = masked_descriptors(backbone, images, maps)
    common = common_region(masked.view(-1, set_size, masked.shape[1]), scale)
    full = full_region(masked, whole, scale)
    return Regularisation(weights[0] * common + weights[1] * full, common.detach(), full.detach())


def localization_maps(features: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The min-max normalised class map of each image's label, differentiable in the weight (eq. 1 and 2).

    Scaling a class's weights by a positive number keeps its maps: their gradient is orthogonal to the weights.

    features: ``(B, K, h, w)``; weight: ``(C, K)``; labels: ``(B,)``. Returns: ``(B, h, w)`` float32 in [0, 1] at
    feature resolution; zeros without gradient where a map is constant or not finite.
    """
    with torch.autocast(features.device.type, enabled=False):
        maps = torch.einsum("bkhw,bk->bhw", at_least_float32(features), at_least_float32(weight[labels]))
        return min_max(maps)


def masked_descriptors(backbone: nn.Module, images: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """``f = GAP(B(I * H))``: pooled features of images multiplied by their maps, enlarged bilinearly to the input.

    Images are normalised, so what is masked turns into the mean colour, not into black.

    images: ``(B, 3, H, W)``; maps: ``(B, h, w)``. Returns: ``(B, K)`` float32.
    """
    mask = interpolate(maps.unsqueeze(1), size=images.shape[-2:], mode="bilinear", align_corners=False)
    return at_least_float32(backbone(images * mask)).mean(dim=(2, 3))


def common_region(descriptors: torch.Tensor, scale: Scale = "mean") -> torch.Tensor:
    """CRR: the mean squared distance between the masked descriptors of two different images of a class (eq. 3).

    Computed as twice the unbiased variance over the S images, which equals the mean over pairs.

    descriptors: ``(N, S, K)``. scale: see `full_region`. Returns: a scalar, the mean over the N classes.
    Raises: ValueError for sets of fewer than two images.
    """
    if descriptors.shape[1] < 2:
        raise ValueError(f"a common region needs sets of at least two images, got {tuple(descriptors.shape)}")
    return _over_channels(2 * at_least_float32(descriptors).var(dim=1), scale).mean()


def full_region(masked: torch.Tensor, whole: torch.Tensor, scale: Scale = "mean") -> torch.Tensor:
    """FRR: the squared distance between the descriptors of the masked and of the whole image (eq. 4).

    scale: mean over the K channels, as in the released code, for which the published weights are meant; sum over them,
    as the paper prints, is K times as much.

    masked, whole: ``(B, K)``. Returns: a scalar, the mean over images. Raises: ValueError for an unknown scale.
    """
    return _over_channels((at_least_float32(masked) - at_least_float32(whole)).square(), scale).mean()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Eval mode and parameters without gradient inside the block; afterwards everything is as it was.

    A graph that was built inside may be differentiated outside: it holds no path to the parameters.
    """
    modes = [(part, part.training) for part in module.modules()]
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.eval()
    _learn(learning, False)
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
        _learn(learning, True)


def _learn(parameters: list[nn.Parameter], value: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(value)


def _over_channels(values: torch.Tensor, scale: Scale) -> torch.Tensor:
    """Reduce the last axis, K."""
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    return values.mean(dim=-1) if scale == "mean" else values.sum(dim=-1)
