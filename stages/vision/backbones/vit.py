"""ViT-S/16 (Dosovitskiy et al. 2021; the size of DeiT and DINO), of timm: by its class token, and by GAP."""

from typing import Any

import torch
from torch import nn

from stages.vision.backbones.libraries import timm_network
from stages.vision.backbones.networks import LocalizerNetwork

__all__ = ["ClassTokenNetwork", "PatchTokens", "vit_s16", "vit_s16_gap"]

_WIDTH, _PATCH = 384, 16


class PatchTokens(nn.Module):
    """A vision transformer read as a map: the patch tokens after the last normalisation, ``(B, 384, S/16, S/16)``.

    S may be any multiple of 16: the position embedding is resampled from the grid that it was trained on.
    """

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer: Any = transformer

    def tokens(self, images: torch.Tensor) -> torch.Tensor:
        """All tokens of normalised images ``(B, 3, S, S)``: ``(B, 1 + S/16 S/16, 384)``, the class token first."""
        return self.transformer.forward_features(images)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Patch tokens in place, ``(B, 384, S/16, S/16)``."""
        patches = self.tokens(images)[:, 1:].transpose(1, 2)
        return patches.unflatten(2, (images.shape[2] // _PATCH, images.shape[3] // _PATCH))


class ClassTokenNetwork(LocalizerNetwork):
    """Classes from the class token, as published; the patch tokens are its features."""

    has_cam = False

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """The class token after the last normalisation, ``(B, 384)``, of normalised images ``(B, 3, S, S)``."""
        return self.features.tokens(images)[:, 0]  # type: ignore[operator]


def vit_s16(num_classes: int) -> ClassTokenNetwork:
    """ViT-S/16 with its class-token classifier: 384 channels at 1/16 of the input."""
    return ClassTokenNetwork(_features(), _WIDTH, num_classes)


def vit_s16_gap(num_classes: int) -> LocalizerNetwork:
    """ViT-S/16 with GAP over its patch tokens and a linear layer, so that CAM is defined."""
    return LocalizerNetwork(_features(), _WIDTH, num_classes)


def _features() -> PatchTokens:
    return PatchTokens(timm_network("vit_small_patch16_224", num_classes=0, dynamic_img_size=True))
