"""The best classes of a classifier's logits."""

import numpy as np
import torch

__all__ = ["TOP", "top_classes"]

TOP = 5


def top_classes(logits: torch.Tensor, views: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The five best classes of each image (fewer where there are fewer), best first, and their softmax scores.

    logits: ``(B views, C)`` of any float type, those of an image's views side by side; the softmax scores of the views
    are averaged. Returns: ``(B, k)`` int32 and ``(B, k)`` float32.
    """
    scores = logits.float().softmax(dim=1)
    scores = scores.view(-1, views, scores.shape[1]).mean(dim=1)
    best = scores.topk(min(TOP, scores.shape[1]), dim=1)
    return best.indices.cpu().numpy().astype(np.int32), best.values.cpu().numpy().astype(np.float32)
