"""Boxes: conversions between conventions, and their algebra.

Inside weakbox a box is ``x0, y0, x1, y1`` in absolute pixels of the original image, half-open: a box that covers one
pixel at the origin is ``0, 0, 1, 1``. Every other convention is converted at the edge where it enters or leaves.
Functions of boxes take ``(N, 4)`` arrays (or one ``(4,)`` box where no pairs are formed) and return float64 copies.
"""

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "area",
    "clip",
    "denormalise",
    "inclusive_to_half_open",
    "iou",
    "normalise",
    "scale",
    "whole_image",
    "xywh_to_xyxy",
    "xyxy_to_xywh",
]


def xywh_to_xyxy(boxes: ArrayLike) -> np.ndarray:
    """Turn boxes ``(..., 4)`` of left, top, width, height into left, top, right, bottom, of the same shape."""
    result = _array(boxes)
    result[..., 2:] += result[..., :2]
    return result


def xyxy_to_xywh(boxes: ArrayLike) -> np.ndarray:
    """Turn boxes ``(..., 4)`` of left, top, right, bottom into left, top, width, height, of the same shape."""
    result = _array(boxes)
    result[..., 2:] -= result[..., :2]
    return result


def inclusive_to_half_open(boxes: ArrayLike) -> np.ndarray:
    """Move the far corner of boxes ``(..., 4)`` from the last pixel inside to one past it (``x0, y0, x1, y1``)."""
    result = _array(boxes)
    result[..., 2:] += 1.0
    return result


def clip(boxes: ArrayLike, width: float, height: float) -> np.ndarray:
    """Cut boxes ``(..., 4)`` to an image of ``width`` x ``height``; one outside becomes empty on its border."""
    result = _array(boxes)
    np.clip(result[..., 0::2], 0.0, width, out=result[..., 0::2])
    np.clip(result[..., 1::2], 0.0, height, out=result[..., 1::2])
    return result


def scale(boxes: ArrayLike, from_size: tuple[float, float], to_size: tuple[float, float]) -> np.ndarray:
    """Carry boxes from a frame of ``(width, height)`` into another that shows the same content."""
    across, down = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return _array(boxes) * np.array([across, down, across, down])


def normalise(boxes: ArrayLike, width: float, height: float) -> np.ndarray:
    """Express boxes ``(..., 4)`` as fractions of an image of ``width`` x ``height`` pixels."""
    return scale(boxes, (width, height), (1.0, 1.0))


def denormalise(boxes: ArrayLike, width: float, height: float) -> np.ndarray:
    """Express boxes ``(..., 4)``, fractions of an image of ``width`` x ``height`` pixels, in pixels."""
    return scale(boxes, (1.0, 1.0), (width, height))


def whole_image(width: float, height: float) -> np.ndarray:
    """The ``(4,)`` box that covers the image."""
    return np.array([0.0, 0.0, width, height])


def area(boxes: ArrayLike) -> np.ndarray:
    """Area in square pixels, ``(N,)``; a box with crossed corners has area 0."""
    array = _array(boxes)
    return np.prod(np.maximum(array[..., 2:] - array[..., :2], 0.0), axis=-1)


def iou(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Intersection over union of every box of ``a`` with every box of ``b`` (continuous, half-open edges).

    a: ``(N, 4)``; b: ``(M, 4)``. Returns: ``(N, M)`` float64 in [0, 1]; 0 where both boxes are empty.
    """
    left, right = _array(a).reshape(-1, 4), _array(b).reshape(-1, 4)
    near = np.maximum(left[:, None, :2], right[None, :, :2])
    far = np.minimum(left[:, None, 2:], right[None, :, 2:])
    intersection = np.prod(np.maximum(far - near, 0.0), axis=-1)
    union = area(left)[:, None] + area(right)[None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def _array(boxes: ArrayLike) -> np.ndarray:
    """Copy to float64 and check that the last axis holds four numbers."""
    array = np.array(boxes, dtype=np.float64)
    if array.shape == (0,):
        return array.reshape(0, 4)
    if array.shape[-1:] != (4,):
        raise ValueError(f"boxes must have four numbers on the last axis, got shape {array.shape}")
    return array
