"""Vision transformers (Dosovitskiy et al. 2021) of timm: ViT-S/16, the size of DeiT and DINO, any other, a tiny one."""

from typing import Any

import torch
from torch import nn

from stages.vision.backbones.libraries import timm_network
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.taps import tapped

__all__ = [
    "ClassTokenNetwork",
    "PatchTokens",
    "timm_vit",
    "vit_s16",
    "vit_s16_gap",
    "vit_tiny_p8",
]


class PatchTokens(nn.Module):
    """A vision transformer read as a map: the patch tokens after the last normalisation, ``(B, D, S/p, S/p)``.

    S may be any multiple of the patch's side p: the position embedding is resampled from the grid that it was trained
    on. The submodule `keys` puts out the keys of the last attention block in the same way, heads concatenated, as its
    projection gives them; nothing depends on its output.

    Raises: ValueError for a network that is no such transformer, or that has no class token.
    """

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer: Any = transformer
        self.keys = nn.Identity()
        if not getattr(transformer, "has_class_token", False):
            raise ValueError(f"{type(transformer).__name__} is no vision transformer with a class token")
        self._projection = f"blocks.{len(list(transformer.get_submodule('blocks').children())) - 1}.attn.qkv"

    def tokens(self, images: torch.Tensor) -> torch.Tensor:
        """All tokens of normalised images ``(B, 3, S, S)``, ``(B, n, D)``: the class token, any registers, patches.

        Raises: ValueError for a side that is no multiple of the patch's.
        """
        side = self.transformer.patch_embed.patch_size[0]
        if any(length % side for length in images.shape[2:]):
            raise ValueError(
                f"the input's side must be a multiple of the patch's, {side}, not {images.shape[2]} pixels"
            )
        return self.transformer.forward_features(images)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Patch tokens in place, ``(B, D, S/p, S/p)``."""
        with tapped(self.transformer, self._projection) as projected:
            tokens = self.tokens(images)
        self.keys(self.in_place(projected.output.chunk(3, dim=-1)[1], images))
        return self.in_place(tokens, images)

    def in_place(self, tokens: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Of all tokens of images, those of the patches, each where it comes from: what `forward` gives."""
        patches = tokens[:, self.transformer.num_prefix_tokens :].transpose(1, 2)
        rows, columns = self.transformer.patch_embed.patch_size
        return patches.unflatten(2, (images.shape[2] // rows, images.shape[3] // columns))


class ClassTokenNetwork(LocalizerNetwork):
    """Classes from the class token, as published; the patch tokens are its features."""

    has_cam = False
    features: PatchTokens

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """The class token after the last normalisation, ``(B, D)``, of normalised images ``(B, 3, S, S)``."""
        return self.features.tokens(images)[:, 0]


def vit_s16(num_classes: int) -> ClassTokenNetwork:
    """ViT-S/16 with its class-token classifier: 384 channels at 1/16 of the input."""
    return timm_vit(num_classes, "vit_small_patch16_224")


def vit_s16_gap(num_classes: int) -> LocalizerNetwork:
    """ViT-S/16 with GAP over its patch tokens and a linear layer, so that CAM is defined."""
    features = _features("vit_small_patch16_224")
    return LocalizerNetwork(features, features.transformer.embed_dim, num_classes)


def vit_tiny_p8(num_classes: int) -> LocalizerNetwork:
    """Four blocks of 96 channels at 1/8 of the input, with GAP: quick, for tests; nobody claims that it learns well."""
    features = _features("vit_tiny_patch16_224", patch_size=8, img_size=64, embed_dim=96, depth=4, num_heads=3)
    return LocalizerNetwork(features, features.transformer.embed_dim, num_classes)


def timm_vit(num_classes: int, name: str) -> ClassTokenNetwork:
    """Any vision transformer that timm builds by this name, with its class-token classifier.

    Raises: ValueError when timm does not know the name, or `PatchTokens` cannot read the network.
    """
    features = _features(name)
    return ClassTokenNetwork(features, features.transformer.embed_dim, num_classes)


def _features(name: str, **options: Any) -> PatchTokens:
    try:
        return PatchTokens(timm_network(name, num_classes=0, dynamic_img_size=True, **options))
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"timm builds no vision transformer {name!r}: {error}") from error
