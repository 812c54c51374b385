"""Deep descriptor transforming: the maps on which the images of one class agree.

Wei et al., "Deep Descriptor Transforming for Image Co-Localization", IJCAI 2017; PSOL (Zhang et al. 2020) makes its
pseudo boxes with it. A class's descriptors are projected on their first principal component; where the projection is
positive, the images share something.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from stages.ddt.moments import Moments
from stages.ddt.principal import Orientation, PrincipalComponent, SignRule, choose_sign, principal_component

__all__ = ["ClassMaps", "Descriptors", "project", "transform"]


class Descriptors:
    """One class's descriptors, kept in half precision, and their moments: one forward pass an image is enough.

    The moments are those of the rounded values, so the maps of the kept descriptors are centred. 1,300 images of
    14x14x512 take 261 MB.
    """

    def __init__(self) -> None:
        self.moments = Moments()
        self._kept: list[torch.Tensor] = []

    def append(self, features: torch.Tensor) -> None:
        """Keep a batch ``(B, d, h, w)`` in host memory; raises ValueError as `Moments.update` does.

        Values beyond half precision's 65504 count as infinite.
        """
        rounded = features.detach().half()
        self.moments.update(rounded)
        self._kept.append(rounded.cpu())

    @property
    def nbytes(self) -> int:
        """Bytes that the kept descriptors take."""
        return sum(chunk.nbytes for chunk in self._kept)

    def project(self, mean: np.ndarray, component: np.ndarray) -> np.ndarray:
        """The maps of all kept images in the order they came, ``(N, h, w)`` float32: see `project`."""
        return torch.cat([project(chunk, mean, component) for chunk in self._kept]).numpy()


@dataclass(frozen=True)
class ClassMaps:
    """DDT of one class: the component with its sign chosen, how it was chosen, and a map per image.

    maps: ``(N, h, w)`` float32, positive is foreground; zeros when ``principal.degenerate``.
    """

    principal: PrincipalComponent
    orientation: Orientation
    maps: np.ndarray


def transform(descriptors: Descriptors, rule: SignRule = "energy") -> ClassMaps:
    """Run DDT on a class whose descriptors have all been appended; raises ValueError when there are none."""
    statistics = descriptors.moments.statistics()
    principal = principal_component(statistics)
    maps = descriptors.project(principal.mean, principal.component)
    orientation = choose_sign(principal, statistics, maps, rule)
    oriented = replace(principal, component=orientation.sign * principal.component)
    return ClassMaps(oriented, orientation, maps * np.float32(orientation.sign))


def project(features: torch.Tensor, mean: np.ndarray, component: np.ndarray) -> torch.Tensor:
    """Indicator maps ``H = (G - mu) . p``, for training images and, with their class's component, for any other.

    The mean is taken off before the product: afterwards, the difference of two large numbers would be left.

    features: ``(B, d, h, w)`` of any float type; mean, component: ``(d,)``.
    Returns: ``(B, h, w)`` float32 on the features' device, not normalised; positive is foreground.
    """
    direction = torch.from_numpy(np.asarray(component, dtype=np.float32)).to(features.device)
    offset = torch.from_numpy(np.asarray(mean, dtype=np.float32)).to(features.device)
    return torch.einsum("bdhw,d->bhw", features.float() - offset.view(1, -1, 1, 1), direction)
