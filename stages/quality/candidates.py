"""The best boxes of several sources, aligned: one row for each image and label that any source has."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.quality.signals import Found
from stages.scoring.ragged import FloatArray, IntArray

__all__ = ["COLUMNS", "Candidates", "candidates"]

COLUMNS = (
    "image_id",
    "label",
    "split",
    "method",
    "image_width",
    "image_height",
    "boxes",
    "area_fraction",
    "contrast",
    "components",
    "flag",
)
"""The columns that are read from each source's pseudo labels."""

_KEY = ("image_id", "label")
_CORNERS = ("x0", "y0", "x1", "y1")


class Candidates(NamedTuple):
    """N images with their label, and the best box of each source in them.

    images: table of N rows: image_id, label, split, image_width, image_height. found: source -> its N best boxes.
    flags: source -> ``(N,)`` texts or null. methods: source -> name of its method.
    """

    images: pa.Table
    found: Mapping[str, Found]
    flags: Mapping[str, pa.ChunkedArray]
    methods: Mapping[str, str]

    @property
    def sizes(self) -> FloatArray:
        """Widths and heights ``(N, 2)``, pixels."""
        return np.stack([_floats(self.images.column(f"image_{side}")) for side in ("width", "height")], axis=1)

    @property
    def labels(self) -> IntArray:
        """Classes ``(N,)``."""
        return self.images.column("label").to_numpy().astype(np.int64)


def candidates(sources: Mapping[str, pa.Table]) -> Candidates:
    """Join the pseudo labels of several sources. sources: stage -> table of `COLUMNS`, one row an image and label.

    A fallback box (a row with a flag) is kept, with its flag. Raises: ValueError for an image that a source has twice
    with the same label.
    """
    parts = [table.select([*_KEY, "split", "image_width", "image_height"]) for table in sources.values()]
    images = (
        pa.concat_tables(parts)
        .group_by(list(_KEY))
        .aggregate([(name, "min") for name in ("split", "image_width", "image_height")])
    )
    images = images.rename_columns([name.removesuffix("_min") for name in images.column_names])
    images = images.sort_by([(name, "ascending") for name in _KEY])
    found, flags, methods = {}, {}, {}
    for source, table in sources.items():
        place = _places(images, table, source)
        found[source] = _found(table, place)
        flags[source] = table.column("flag").take(place)
        methods[source] = table.column("method")[0].as_py() if table.num_rows else source
    return Candidates(images, found, flags, methods)


def _places(images: pa.Table, table: pa.Table, source: str) -> pa.Array:
    """For each row of `images` the index of its row in a source's table, null where it has none."""
    numbered = table.select(list(_KEY)).append_column("place", pa.array(np.arange(table.num_rows)))
    if numbered.group_by(list(_KEY)).aggregate([]).num_rows < table.num_rows:
        raise ValueError(f"{source} has an image twice with the same label")
    rows = images.select(list(_KEY)).append_column("row", pa.array(np.arange(images.num_rows)))
    return rows.join(numbered, list(_KEY)).sort_by("row").column("place").combine_chunks()


def _found(table: pa.Table, place: pa.Array) -> Found:
    boxes = table.column("boxes").combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(boxes), 0).to_numpy()
    firsts = (np.cumsum(lengths) - lengths)[lengths > 0]
    flat = boxes.flatten()
    best = np.full((len(lengths), 5), np.nan)
    for number, name in enumerate((*_CORNERS, "score")):
        best[lengths > 0, number] = flat.field(name).to_numpy(zero_copy_only=False)[firsts]
    sizes = [_floats(table.column(f"image_{side}")) for side in ("width", "height")]
    best[:, :4] = np.clip(best[:, :4], 0.0, np.stack([*sizes, *sizes], axis=1))
    rows = pc.fill_null(place, -1).to_numpy()
    missing = rows < 0

    def aligned(values: FloatArray) -> FloatArray:
        if not len(values):
            return np.full((len(rows), *values.shape[1:]), np.nan)
        taken = values[rows].astype(np.float64)
        taken[missing] = np.nan
        return taken

    numbers = {name: aligned(_floats(table.column(name))) for name in ("contrast", "area_fraction", "components")}
    return Found(aligned(best[:, :4]), aligned(best[:, 4]), **numbers)


def _floats(column: pa.ChunkedArray) -> FloatArray:
    """A column of numbers as float64, null as NaN."""
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
