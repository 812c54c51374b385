"""The layout of a network's features, with conversion to a map ``(B, K, h, w)`` and back."""

from dataclasses import dataclass
from typing import Literal

import torch

__all__ = ["FeatureForm"]


@dataclass(frozen=True)
class FeatureForm:
    """One of three layouts.

    kind: map: ``(B, K, h, w)``. channels_last: ``(B, h, w, K)``. tokens: ``(B, prefix + h w, K)``, row by row.
    prefix: tokens before those of the patches: class tokens and registers.
    """

    kind: Literal["map", "channels_last", "tokens"] = "map"
    prefix: int = 0

    def to_map(self, features: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """The map of the features of images ``(B, 3, H, W)``. Raises: ValueError where tokens fill no grid."""
        if self.kind == "map":
            return features
        if self.kind == "channels_last":
            return features.movedim(-1, 1)
        return features[:, self.prefix :].transpose(1, 2).unflatten(2, self._grid(features, images))

    def back(self, maps: torch.Tensor, features: torch.Tensor | None = None) -> torch.Tensor:
        """Features in this layout from maps ``(B, K, h, w)``. features: gives the prefix tokens; None: none of them."""
        if self.kind == "map":
            return maps
        if self.kind == "channels_last":
            return maps.movedim(1, -1)
        tokens = maps.flatten(2).transpose(1, 2)
        return tokens if features is None else torch.cat([features[:, : self.prefix], tokens], dim=1)

    def _grid(self, features: torch.Tensor, images: torch.Tensor) -> tuple[int, int]:
        patches = features.shape[1] - self.prefix
        rows = max(1, round((patches * images.shape[2] / images.shape[3]) ** 0.5))
        if patches % rows:
            raise ValueError(f"{patches} tokens fill no grid of images of {images.shape[2]}x{images.shape[3]} pixels")
        return rows, patches // rows
