"""The reliable pixels of a map, SGRM's loss on them, and the share of them that a prediction gets wrong.

Pan et al., "Coarse2Fine: Local Consistency Aware Re-prediction for Weakly Supervised Object Localization", AAAI 2023,
equations 12 to 16. Pixels are flat: N = H W. Of the network's two outputs only their difference counts, the margin
(object minus background).
"""

from typing import NamedTuple

import torch

from stages.sgrm.parameters import SgrmParameters
from stages.sgrm.superpixels import majority, means

__all__ = ["Reliable", "joint_loss", "loss_gradient", "reliable", "wrong_share"]


class Reliable(NamedTuple):
    """Labels of B images, ``(B, N)`` each but for `counts`, bool but for `ids` and `counts`.

    is_object, is_background: whether y_cls is 1, is 0. known: whether y_s* is 0 or 1. known_object: whether y_s* is 1.
    ids: the superpixel of each pixel, int64. counts: ``(B, S)`` float32, the number of pixels of each superpixel.
    """

    is_object: torch.Tensor
    is_background: torch.Tensor
    known: torch.Tensor
    known_object: torch.Tensor
    ids: torch.Tensor
    counts: torch.Tensor

    def of(self, images: torch.Tensor | slice) -> "Reliable":
        """The same for images selected by index."""
        return Reliable(*(part[images] for part in self))


def reliable(maps: torch.Tensor, ids: torch.Tensor, parameters: SgrmParameters) -> Reliable:
    """Labels from maps ``(B, N)`` in [0, 1] and superpixels ``(B, N)`` int64 (equation 12)."""
    smooth = means(maps, ids)
    counts = torch.zeros((len(ids), int(ids.max()) + 1), device=ids.device)
    counts.scatter_add_(1, ids, torch.ones(1, device=ids.device).expand(ids.shape))
    known_object = smooth > parameters.high2
    return Reliable(
        maps > parameters.high1,
        maps < parameters.low1,
        known_object | (smooth < parameters.low2),
        known_object,
        ids,
        counts,
    )


def joint_loss(margins: torch.Tensor, labels: Reliable, parameters: SgrmParameters) -> torch.Tensor:
    """The loss of each image, ``(B,)``, of margins ``(B, N)`` (equations 13 to 16); a term without pixels is 0."""
    toward_object, toward_background = _weights(margins, labels, parameters)
    softplus = torch.nn.functional.softplus
    return (toward_object * softplus(-margins) + toward_background * softplus(margins)).sum(dim=1)


def loss_gradient(margins: torch.Tensor, labels: Reliable, parameters: SgrmParameters) -> torch.Tensor:
    """The derivative of `joint_loss` by the margins, ``(B, N)``; the vote passes no gradient on."""
    toward_object, toward_background = _weights(margins, labels, parameters)
    return (toward_object + toward_background) * margins.sigmoid() - toward_object


def wrong_share(chosen: torch.Tensor, labels: Reliable, balanced: bool) -> torch.Tensor:
    """The share of reliable pixels that a prediction gets wrong, ``(B,)`` float32; 0 where none is reliable.

    chosen: ``(B, N)`` bool. balanced: the mean over object and background of their own shares.
    """
    wrong = torch.stack([(labels.is_object & ~chosen).sum(dim=1), (labels.is_background & chosen).sum(dim=1)])
    number = torch.stack([labels.is_object.sum(dim=1), labels.is_background.sum(dim=1)])
    if not balanced:
        return wrong.sum(dim=0) / number.sum(dim=0).clamp(min=1)
    return (wrong / number.clamp(min=1)).sum(dim=0) / (number > 0).sum(dim=0).clamp(min=1)


def _weights(margins: torch.Tensor, labels: Reliable, parameters: SgrmParameters) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of each pixel's cross-entropy towards object, and towards background, ``(B, N)`` each."""
    voted = majority(margins.detach() > 0, labels.ids, labels.counts)
    consistent = torch.where(labels.known, labels.known_object, voted)
    smooth = parameters.superpixel_weight / margins.shape[1]
    positive = parameters.positive_weight / labels.is_object.sum(dim=1, keepdim=True).clamp(min=1)
    negative = parameters.negative_weight / labels.is_background.sum(dim=1, keepdim=True).clamp(min=1)
    toward_object = labels.is_object * positive + consistent * smooth
    return toward_object, labels.is_background * negative + ~consistent * smooth
