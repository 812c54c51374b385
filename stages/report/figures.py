"""Pixels and curves for a page: data URIs and SVG coordinates. Pure: the same input gives the same text."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from stages.vision.score_maps import enlarge, min_max

__all__ = ["SMALL", "CurvePlot", "Line", "curve_plot", "heat_uri", "photo_uri", "thumbnail"]

THUMBNAIL = 256
"""Longer side of an embedded photograph, pixels."""

SMALL = 128
"""Longer side of a photograph in the row of a class, pixels."""

HEAT_SIDE = 160
"""Longer side of an embedded heat map, pixels."""

_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]
_HEAT_SHARE = 0.55


def thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """Shrink ``(H, W, 3)`` uint8 to at most `side` pixels a side, aspect kept; a smaller image stays as it is."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def photo_uri(image: np.ndarray, side: int = THUMBNAIL) -> str:
    """A ``data:image/jpeg`` URI of an RGB image ``(H, W, 3)`` uint8, at most `side` pixels a side."""
    return _jpeg_uri(thumbnail(image, side))


def heat_uri(image: np.ndarray, score_map: np.ndarray) -> str:
    """A ``data:image/jpeg`` URI of a score map over its image.

    The map is min-maxed and enlarged bilinearly, coloured blue (low) to red (high) and laid over the grey image.

    image: ``(H, W, 3)`` uint8 RGB. score_map: ``(h, w)`` of any float type, covering the whole image.
    """
    height, width = image.shape[:2]
    factor = HEAT_SIDE / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    heat = enlarge(min_max(score_map), size[1], size[0])
    levels = np.rint(np.clip(heat, 0, 1) * 255).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[:, :, ::-1].astype(np.float32)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.float32)
    return _jpeg_uri(np.rint(_HEAT_SHARE * colours + (1 - _HEAT_SHARE) * grey).astype(np.uint8))


@dataclass(frozen=True)
class Line:
    """One curve in SVG coordinates: `points` of a polyline, and position, threshold and value of its best point."""

    name: str
    colour: int
    points: str
    best_x: float
    best_y: float
    best_threshold: float
    best_value: float


@dataclass(frozen=True)
class CurvePlot:
    """A small diagram of accuracy (percent) over threshold (0 to 1), `width` x `height` SVG units inside its axes."""

    title: str
    width: int
    height: int
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]


def curve_plot(
    title: str,
    curves: Sequence[tuple[str, int, np.ndarray, np.ndarray]],
    *,
    top: int = 100,
    width: int = 300,
    height: int = 180,
) -> CurvePlot:
    """Lay out accuracy over threshold for several methods.

    curves: (name, colour number, thresholds ``(n,)`` in [0, 1], values ``(n,)`` percent), n at least 1.
    top: where the vertical axis ends, percent.
    """
    lines = []
    for name, colour, thresholds, values in curves:
        order = np.argsort(thresholds, kind="stable")
        x, y = thresholds[order] * width, (1 - values[order] / top) * height
        best = int(np.argmax(values[order]))
        lines.append(
            Line(
                name=name,
                colour=colour,
                points=" ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)),
                best_x=round(float(x[best]), 1),
                best_y=round(float(y[best]), 1),
                best_threshold=float(thresholds[order][best]),
                best_value=float(values[order][best]),
            )
        )
    x_ticks = tuple((width * tick / 4, f"{tick / 4:g}") for tick in range(5))
    y_ticks = tuple((height * (1 - tick / top), f"{tick}") for tick in range(0, top + 1, 20))
    return CurvePlot(title, width, height, x_ticks, y_ticks, tuple(lines))


def _jpeg_uri(image: np.ndarray) -> str:
    _, encoded = cv2.imencode(".jpg", image[:, :, ::-1], _QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
