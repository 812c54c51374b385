"""Deep descriptor transforming: maps of what the images of one class have in common.

Wei et al., "Deep Descriptor Transforming for Image Co-Localization", IJCAI 2017; PSOL (Zhang et al. 2020) makes its
pseudo boxes with it. A class's descriptors are projected on their first principal component; a positive projection
marks what the images share.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from stages.ddt.kept import Kept
from stages.ddt.moments import Blocks, Moments
from stages.ddt.parameters import SignRule
from stages.ddt.principal import Orientation, PrincipalComponent, choose_sign, principal_component
from stages.vision.score_maps import enlarge
from stages.vision.transfer import HostCopy

__all__ = ["ClassMaps", "Descriptors", "Projection", "intersection", "transform"]


NOT_FINITE = "features hold a NaN, an infinity, or more than half precision holds (65504)"


class Descriptors:
    """One class's descriptors, kept in half precision, and their moments: one forward pass an image is enough.

    1,300 images of 14x14x512 take 261 MB. budget, folder, card: see `Kept`.
    """

    def __init__(self, budget: int | None = None, folder: str | None = None, card: int = 0) -> None:
        self.moments = Moments()
        self.kept = Kept(budget, folder, card)
        self._grids: list[tuple[int, ...]] = []

    def append(self, features: torch.Tensor) -> None:
        """Keep a batch ``(B, d, h, w)``; raises ValueError as `Moments.update` does.

        Values beyond half precision's 65504 become infinite, which `project` refuses.
        """
        descriptors = features.detach().movedim(1, -1)
        rows = descriptors.reshape(-1, descriptors.shape[-1])
        self.moments.update(rows)
        self.kept.append(rows.half())
        self._grids.append(tuple(descriptors.shape[:-1]))

    def project(self, mean: np.ndarray, component: np.ndarray) -> np.ndarray:
        """The maps of all kept images in the order they came, ``(N, h, w)`` float32, centred: see `Projection`.

        mean, component: ``(d,)``. Raises: ValueError when a kept descriptor is not finite.
        """

        @cache
        def projection(device: torch.device) -> Projection:
            return Projection(mean, component, device)

        chunks = zip(self._grids, self.kept, strict=True)
        coming = [HostCopy(projection(rows.device).of_rows(rows).view(grid)) for grid, rows in chunks]
        maps = torch.cat([copy.wait() for copy in coming]).numpy()
        offset = maps.mean(dtype=np.float64)
        if not np.isfinite(offset):
            raise ValueError(NOT_FINITE)
        return maps - offset.astype(np.float32)


@dataclass(frozen=True)
class ClassMaps:
    """DDT of one class: the component with its sign chosen, how it was chosen, and a map per image.

    maps: ``(N, h, w)`` float32, positive is foreground; zeros when ``principal.degenerate``.
    """

    principal: PrincipalComponent
    orientation: Orientation
    maps: np.ndarray


def transform(descriptors: Descriptors, rule: SignRule = "energy") -> ClassMaps:
    """Run DDT on a class whose descriptors have all been appended; raises ValueError for none, or not finite ones."""
    statistics = descriptors.moments.statistics()
    principal = principal_component(statistics)
    maps = descriptors.project(principal.mean, principal.component)
    orientation = choose_sign(principal, statistics, maps, rule)
    oriented = replace(principal, component=orientation.sign * principal.component)
    return ClassMaps(oriented, orientation, maps * np.float32(orientation.sign))


class Projection:
    """Indicator maps ``H = (G - mu) . p``, for training images and, with their class's component, for any other.

    The mean is subtracted before the product, because afterwards two large numbers would cancel.

    mean, component: ``(d,)``; device: where the features are.
    """

    def __init__(self, mean: np.ndarray, component: np.ndarray, device: torch.device | str = "cpu") -> None:
        self._mean, self._component = (
            torch.from_numpy(np.asarray(values, dtype=np.float32)).to(device) for values in (mean, component)
        )
        self._blocks = Blocks()

    def of(self, features: torch.Tensor) -> torch.Tensor:
        """Maps ``(B, h, w)`` float32 of features ``(B, d, h, w)``; not normalised, positive is foreground."""
        rows = features.movedim(1, -1)
        return self.of_rows(rows.reshape(-1, rows.shape[-1])).view(rows.shape[:-1])

    def of_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """``(N,)`` float32 of descriptors ``(N, d)``."""
        return torch.cat([shifted @ self._component for _, shifted in self._blocks.of(rows, self._mean)])


def intersection(first: np.ndarray, second: np.ndarray, deviations: tuple[float, float]) -> np.ndarray:
    """DDT+: maps that are positive where the maps of two layers both are.

    The coarser maps are enlarged (bilinear) to the finer grid. The result is the smaller of both, each divided by its
    standard deviation over the class.

    first, second: ``(N, h, w)`` and ``(N, h', w')``; deviations: of both, at least 0. Returns: ``(N, H, W)`` float32.
    """
    height, width = (max(first.shape[axis], second.shape[axis]) for axis in (1, 2))
    scaled = [
        enlarge(maps, height, width) / np.float32(deviation if deviation > 0 else 1)
        for maps, deviation in zip((first, second), deviations, strict=True)
    ]
    return np.minimum(*scaled)
