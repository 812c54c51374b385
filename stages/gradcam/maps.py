"""Score maps of given classes by Grad-CAM and related methods: pytorch-grad-cam's formulas, at the layer's resolution.

The package is an optional extra and slow to import, so it is imported only where maps are made.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from stages.gradcam.observe import Observation, TapError, observe
from stages.gradcam.options import METHODS, MethodName

if TYPE_CHECKING:
    from pytorch_grad_cam.base_cam import BaseCAM

__all__ = ["TapError", "gradient_maps"]

_MASKS_AT_ONCE = 32


def gradient_maps(
    network: nn.Module, path: str, images: torch.Tensor, method: MethodName, classes: torch.Tensor | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The map of one class per image, after the ReLU that all these methods end with.

    Maps of linear methods are multiplied by h w, so that Grad-CAM of the last layer before global average pooling is
    ReLU(CAM) itself and float16 holds the maps of large layers. The sign of EigenGrad-CAM's projection is arbitrary, so
    it is chosen to agree with the sum over channels of gradients times activations.

    Afterwards the network is in eval mode and otherwise as before: no hooks, no gradients, same `requires_grad`.

    network: images -> logits ``(B, C)``, in float32. path: the layer's module path. images: ``(B, 3, S, S)``.
    classes: ``(B,)`` integers; None: the largest logit of each image.
    Returns: maps ``(B, h, w)`` float32, at least 0; their classes ``(B,)`` int64.
    Raises: KeyError for an unknown method; TapError when the network has no such layer, the layer does not give one
    map ``(B, K, h, w)``, or the logits do not depend on it.
    """
    import pytorch_grad_cam

    entry, layer = METHODS[method], _layer(network, path)
    explainer = getattr(pytorch_grad_cam, entry.explainer)(network, [layer])
    seen = observe(explainer, layer, images, classes)
    with _no_progress_bars(pytorch_grad_cam.score_cam):
        maps = np.concatenate([_image(explainer, layer, images, part, seen) for part in _parts(method, len(images))])
    if method == "eigengradcam":
        maps = _agreeing(maps, (seen.gradients * seen.activations).sum(axis=1))
    scale = maps[0].size if entry.linear else 1
    return np.maximum(maps, 0).astype(np.float32) * np.float32(scale), seen.classes.cpu().numpy()


def _layer(network: nn.Module, path: str) -> nn.Module:
    try:
        return network.get_submodule(path)
    except AttributeError as error:
        raise TapError(f"the network has no module {path!r}") from error


def _parts(method: str, images: int) -> list[slice]:
    """Parts of the batch for the package: all of it, but single images for Score-CAM, which holds (B, K, 3, S, S)."""
    return [slice(n, n + 1) for n in range(images)] if method == "scorecam" else [slice(0, images)]


def _image(explainer: "BaseCAM", layer: nn.Module, images: torch.Tensor, part: slice, seen: Observation) -> np.ndarray:
    """The package's map of a part of the batch, ``(n, h, w)``, before its ReLU, min-max and resizing."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    explainer.batch_size = _MASKS_AT_ONCE
    targets = [ClassifierOutputTarget(label) for label in seen.classes[part].tolist()]
    gradients = None if seen.gradients is None else seen.gradients[part]
    return explainer.get_cam_image(images[part], layer, targets, seen.activations[part], gradients, False)


def _agreeing(maps: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Negate the maps (of zero mean) whose covariance with the evidence is negative."""
    against = (maps * evidence).sum(axis=(1, 2), keepdims=True) < 0
    return np.where(against, -maps, maps)


@contextmanager
def _no_progress_bars(module: ModuleType) -> Iterator[None]:
    """Switch off the progress bar that Score-CAM draws for each image; the package has no option for it."""
    before: object = module.tqdm
    vars(module)["tqdm"] = SimpleNamespace(tqdm=lambda items: items)
    try:
        yield
    finally:
        vars(module)["tqdm"] = before
