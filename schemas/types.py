"""Arrow types and value checks that several tables share."""

from typing import Literal, get_args

import numpy as np
import pyarrow as pa

BOX = pa.struct([(name, pa.float32()) for name in ("x0", "y0", "x1", "y1")])
SCORED_BOX = pa.struct([(name, pa.float32()) for name in ("x0", "y0", "x1", "y1", "score")])
RLE = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
BOXES = pa.list_(BOX)
SCORED_BOXES = pa.list_(SCORED_BOX)
MASKS = pa.list_(RLE)
MAP = pa.list_(pa.float16())
WHOLE_MAP = pa.list_(pa.float32())
"""The type of maps of other programs, which are kept as they are."""

Split = Literal["train", "dev", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
HeldOut = Literal["dev", "val", "test"]
HELD_OUT: tuple[HeldOut, ...] = get_args(HeldOut)
"""The splits that are not trained on. Ground-truth boxes of train never enter a choice."""
TRIVIAL = ("whole_image", "whole_crop", "centred_square", "centred_gaussian", "median_train_box")
"""Predictors that look at no image: what any method has to beat."""


def bad_boxes(column: pa.Array) -> np.ndarray:
    """Mask ``(N,)`` bool of the rows with a box that is not finite or has x1 < x0 or y1 < y0."""
    boxes = column.flatten()
    x0, y0, x1, y1 = (boxes.field(i).to_numpy(zero_copy_only=False) for i in range(4))
    bad_box = ~(np.isfinite(x0) & np.isfinite(y0) & (x1 >= x0) & (y1 >= y0) & np.isfinite(x1) & np.isfinite(y1))
    bad = np.zeros(len(column), bool)
    rows = np.repeat(np.arange(len(column)), np.asarray(column.value_lengths().fill_null(0)))
    bad[rows[bad_box]] = True
    return bad


def not_positive(column: pa.Array) -> np.ndarray:
    """Mask ``(N,)`` bool of the rows whose number is below 1."""
    return np.asarray(column.fill_null(1)) < 1


def negative(column: pa.Array) -> np.ndarray:
    """Mask ``(N,)`` bool of the rows whose number is below 0."""
    return np.asarray(column.fill_null(0)) < 0


def unknown_split(column: pa.Array) -> np.ndarray:
    """Mask ``(N,)`` bool of the rows whose split is none of train, dev, val, test."""
    return ~np.isin(column.to_numpy(zero_copy_only=False), SPLITS)


def empty_text(column: pa.Array) -> np.ndarray:
    """Mask ``(N,)`` bool of the rows whose text is empty."""
    bad: np.ndarray = np.asarray(column) == ""
    return bad
