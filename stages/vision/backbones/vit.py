"""Vision transformers (Dosovitskiy et al. 2021) of timm: ViT-S/16, the size of DeiT and DINO, and a tiny one."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from stages.vision.backbones.feature_form import FeatureForm
from stages.vision.backbones.libraries import timm_network
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.timm_features import Inside, TimmFeatures

__all__ = [
    "ClassTokenNetwork",
    "PatchTokens",
    "has_class_token",
    "vit_s16",
    "vit_s16_gap",
    "vit_tiny_p8",
]


class PatchTokens(TimmFeatures):
    """A vision transformer read as a map: the patch tokens after the last normalisation, ``(B, D, S/p, S/p)``.

    S may be any multiple of the patch's side p: the position embedding is resampled from the grid that it was trained
    on. Besides its `keys`, ``passages.norm1`` exposes the input of the last block's attention: the last patch tokens
    on which the class token depends.

    inside, keys: as in `TimmFeatures`; None: those of an ordinary vision transformer.
    Raises: ValueError for a network that is no such transformer, or that has no class token.
    """

    child = "transformer"
    transformer: Any

    def __init__(
        self, transformer: nn.Module, inside: Mapping[str, Inside] | None = None, keys: str | None = None
    ) -> None:
        if not has_class_token(transformer):
            raise ValueError(f"{type(transformer).__name__} is no vision transformer with a class token")
        last = f"blocks.{len(list(transformer.get_submodule('blocks').children())) - 1}"
        form = FeatureForm("tokens", getattr(transformer, "num_prefix_tokens", 1))
        layers = {"norm1": Inside(f"{last}.norm1", form)} if inside is None else inside
        super().__init__(transformer, form, layers, f"{last}.attn.qkv" if inside is None else keys)

    def raw(self, images: torch.Tensor) -> torch.Tensor:
        """All tokens ``(B, n, D)`` of normalized images ``(B, 3, S, S)``: the class token, any registers, patches.

        Raises: ValueError for a side that is no multiple of the patch's.
        """
        side = self.transformer.patch_embed.patch_size[0]
        if any(length % side for length in images.shape[2:]):
            raise ValueError(
                f"the input's side must be a multiple of the patch's, {side}, not {images.shape[2]} pixels"
            )
        return super().raw(images)

    def in_place(self, tokens: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """The patch tokens among all tokens ``(B, n, D)`` of images, as the map ``(B, D, S/p, S/p)`` of `forward`."""
        return self.form.to_map(tokens, images)


def has_class_token(network: nn.Module) -> bool:
    """Whether a network is a stack of blocks over patches and a class token."""
    token = getattr(network, "has_class_token", getattr(network, "cls_token", None) is not None)
    patches = getattr(network, "patch_embed", None)
    return bool(token) and hasattr(network, "blocks") and isinstance(getattr(patches, "patch_size", None), tuple)


class ClassTokenNetwork(LocalizerNetwork):
    """Classes from the class token, as published; the patch tokens are its features."""

    has_cam = False
    features: PatchTokens

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """The class token after the last normalisation, ``(B, D)``, of normalised images ``(B, 3, S, S)``."""
        return self.features.raw(images)[:, 0]


def vit_s16(num_classes: int) -> ClassTokenNetwork:
    """ViT-S/16 with its class-token classifier: 384 channels at 1/16 of the input."""
    features = _features("vit_small_patch16_224")
    return ClassTokenNetwork(features, features.transformer.embed_dim, num_classes)


def vit_s16_gap(num_classes: int) -> LocalizerNetwork:
    """ViT-S/16 with GAP over its patch tokens and a linear layer, so that CAM is defined."""
    features = _features("vit_small_patch16_224")
    return LocalizerNetwork(features, features.transformer.embed_dim, num_classes)


def vit_tiny_p8(num_classes: int) -> LocalizerNetwork:
    """Four blocks of 96 channels at 1/8 of the input, with GAP: a fast network for tests, not for results."""
    features = _features("vit_tiny_patch16_224", patch_size=8, img_size=64, embed_dim=96, depth=4, num_heads=3)
    return LocalizerNetwork(features, features.transformer.embed_dim, num_classes)


def _features(name: str, **options: Any) -> PatchTokens:
    return PatchTokens(timm_network(name, num_classes=0, dynamic_img_size=True, **options))
