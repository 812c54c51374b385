"""Score maps: normalisation and enlargement. A map always covers the whole image, whatever its resolution."""

import cv2
import numpy as np

from stages.vision.box_rule import Interpolation

__all__ = ["enlarge", "min_max", "to_half"]

_CV2 = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


def min_max(maps: np.ndarray) -> np.ndarray:
    """Stretch each map to [0, 1]; a constant map, or one with a NaN or an infinity, becomes zeros.

    maps: ``(..., H, W)`` of any float type. Returns: float32 of the same shape, attaining 0 and 1 where not zero.
    """
    values = np.asarray(maps, dtype=np.float32)
    low = values.min(axis=(-2, -1), keepdims=True)
    high = values.max(axis=(-2, -1), keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):
        extent = high - low
    usable = np.isfinite(extent) & (extent > 0)
    shifted = np.where(usable, values - np.where(usable, low, 0), 0)
    return shifted / np.where(usable, extent, np.float32(1))


def to_half(maps: np.ndarray) -> np.ndarray:
    """Maps of any shape as float16, clipped to its finite range: an infinity would turn a whole map to zeros."""
    most = np.finfo(np.float16).max
    return np.clip(maps, -most, most).astype(np.float16)


def enlarge(maps: np.ndarray, height: int, width: int, mode: Interpolation = "bilinear") -> np.ndarray:
    """Resample maps to ``height`` x ``width`` pixels with half-pixel centres (``align_corners=False``).

    Bicubic (kernel coefficient -0.75) overshoots the range of the map, so normalise afterwards.

    maps: ``(..., h, w)`` of any float type. Returns: ``(..., height, width)`` float32.
    Raises: ValueError for an unknown mode.
    """
    if mode not in _CV2:
        raise ValueError(f"mode must be one of {sorted(_CV2)}, got {mode!r}")
    values = np.ascontiguousarray(maps, dtype=np.float32)
    result = np.empty((*values.shape[:-2], height, width), dtype=np.float32)
    flat = values.reshape(-1, *values.shape[-2:])
    for source, target in zip(flat, result.reshape(-1, height, width), strict=True):
        cv2.resize(source, (width, height), dst=target, interpolation=_CV2[mode])
    return result
