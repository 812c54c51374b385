"""Opens images by rows of the images table; every stage but ingest opens images here."""

from collections.abc import Callable

import numpy as np

from stages.vision.image_rows import ImageRow
from stages.vision.images import decode

__all__ = ["Read", "load"]

Read = Callable[[ImageRow, str | None], bytes]
"""(row, hash) -> bytes. Raises ValueError for bytes of another hash; other errors are storage errors."""


def load(read: Read, row: ImageRow) -> np.ndarray:
    """An image as ingest saw it: ``(height, width, 3)`` uint8 RGB, turned and repaired as its row says.

    Raises: ValueError for other bytes than those listed, ImageError, and the errors of `read`.
    """
    return decode(read(row, row["content_hash"]), turned=bool(row["turned"]), lenient=bool(row["lenient"]))
