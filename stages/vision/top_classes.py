"""The best classes of a classifier's logits."""

import numpy as np
import torch

__all__ = ["TOP", "top_classes"]

TOP = 5


def top_classes(logits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The five best classes (fewer where there are fewer), best first, and their softmax scores.

    logits: ``(B, C)`` of any float type. Returns: ``(B, k)`` int32 and ``(B, k)`` float32.
    """
    scores = logits.float().softmax(dim=1)
    best = scores.topk(min(TOP, scores.shape[1]), dim=1)
    return best.indices.cpu().numpy().astype(np.int32), best.values.cpu().numpy().astype(np.float32)
