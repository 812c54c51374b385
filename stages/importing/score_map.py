"""Parsing and checking one score map of another program."""

import io
import math

import numpy as np

from stages.importing.options import MapFrame
from stages.scoring.protocols import WSOL_SIDE

__all__ = ["checked_map", "parse_npy"]


def parse_npy(data: bytes) -> np.ndarray:
    """The array ``(height, width)`` of a .npy file, of the file's floating dtype.

    Nothing is unpickled, and a header that promises more numbers than the file has takes no memory.

    Raises: ValueError for another shape or dtype, or a damaged file.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    _check_kind(shape, dtype)
    if math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError("the file holds fewer numbers than it says, or more")
    values = np.frombuffer(data, dtype, offset=file.tell())
    return values.reshape(shape, order="F" if by_columns else "C")


def checked_map(values: np.ndarray, frame: MapFrame) -> np.ndarray:
    """A map ``(height, width)`` as it is kept: float32, C-contiguous.

    Raises: ValueError for another number of axes, for NaN and infinity, and with frame `as_is` for values outside
    [0, 1] in a map of the standard evaluator's size.
    """
    _check_kind(values.shape, values.dtype)
    with np.errstate(over="ignore"):
        kept = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(kept).all():
        raise ValueError("the map has a NaN or an infinity")
    if frame == "as_is" and kept.shape == (WSOL_SIDE, WSOL_SIDE) and (kept.min() < 0 or kept.max() > 1):
        raise ValueError("a 224 x 224 map has values in [0, 1], this one outside: frame: min_max stretches it")
    return kept


def _check_kind(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if not np.issubdtype(dtype, np.floating):
        raise ValueError(f"the map's dtype is {dtype}; it should be floating")
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"the map's shape is {shape}; it should be (height, width)")
