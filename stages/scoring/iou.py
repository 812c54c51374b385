"""Intersection ratios of aligned half-open boxes, and the best IoU of an image."""

import numpy as np

from stages.scoring.ragged import FloatArray, RaggedBoxes


def area(boxes: FloatArray) -> FloatArray:
    """Areas (...,) of half-open boxes (..., 4); never negative."""
    return np.maximum(boxes[..., 2] - boxes[..., 0], 0) * np.maximum(boxes[..., 3] - boxes[..., 1], 0)


def intersection(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection areas (...,) of aligned (broadcast) half-open boxes (..., 4)."""
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Quotient (...,) of two arrays of one shape, 0 where the denominator is not positive."""
    valid = denominator > 0
    return np.where(valid, numerator / np.where(valid, denominator, 1.0), 0.0)


def aligned_iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """IoU (...,) of aligned (broadcast) half-open boxes (..., 4); 0 where both are empty.

    For the IoU of inclusive corners, add 1 to x1 and y1 first.
    """
    shared = intersection(a, b)
    return ratio(shared, area(a) + area(b) - shared)


def best_of(boxes: FloatArray, truth: FloatArray) -> FloatArray:
    """Best IoU (B,) of each box (B, 4) with any ground-truth box (G, 4) of its image; 0 without any."""
    return aligned_iou(boxes[:, None], truth[None]).max(axis=1) if len(truth) else np.zeros(len(boxes))


def best_iou(predicted: FloatArray, truth: RaggedBoxes) -> FloatArray:
    """Best IoU (N,) of one predicted box an image (N, 4) with any of its ground-truth boxes; 0 without any.

    Raises ValueError when the number of images differs.
    """
    if len(predicted) != truth.images:
        raise ValueError(f"{len(predicted)} predicted boxes for {truth.images} images")
    best = np.zeros(truth.images)
    np.maximum.at(best, truth.owner, aligned_iou(predicted[truth.owner], truth.boxes))
    return best
