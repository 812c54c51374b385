"""The eight orientations of EXIF, as operations on pixels."""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np

Orientation = Literal[1, 2, 3, 4, 5, 6, 7, 8]
ORIENTATIONS: tuple[Orientation, ...] = get_args(Orientation)

_TURNS: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
_PROBE = np.arange(6).reshape(2, 3)
_BACK: Mapping[int, int] = {**{way: way for way in _TURNS}, 6: 8, 8: 6}


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a stored image ``(H, W, ...)`` into the image that is shown by its EXIF orientation; contiguous."""
    return np.ascontiguousarray(_TURNS[orientation](image))


def turned_back(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a shown image ``(H, W, ...)`` back into the stored image, the inverse of `turned`; contiguous."""
    return turned(image, _BACK[orientation])


def orientation_of(turns: Callable[[np.ndarray], np.ndarray]) -> int:
    """The orientation equal to a chain of 90 degree rotations and mirrorings of an image ``(H, W)``."""
    shown = turns(_PROBE)
    return next(way for way, turn in _TURNS.items() if np.array_equal(turn(_PROBE), shown))
