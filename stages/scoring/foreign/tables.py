"""Boxes and classes of other programs, from CSV or Parquet files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from stages.scoring.foreign.errors import ForeignInputError
from stages.scoring.ragged import FloatArray, IntArray

PARQUET = (".parquet", ".pq")
"""Suffixes of Parquet files; all other files are read as CSV."""

TOP = 5
_CORNERS = ("x0", "y0", "x1", "y1")


class BoxRows(NamedTuple):
    """The rows of a file of boxes: image ids, corners (N, 4) half-open original pixels, and scores (N,)."""

    ids: list[str]
    corners: FloatArray
    scores: FloatArray


class Found(NamedTuple):
    """One row an image (N, k), in the order of the ids; `missing`: how many images the file does not name."""

    values: np.ndarray
    missing: int


def parse_boxes(data: bytes, path: str) -> BoxRows:
    """The rows of a CSV or Parquet file with columns image_id, x0, y0, x1, y1 and optionally score (default 1).

    path: name of the file; the suffix tells the format. Raises ForeignInputError, naming file or image id.
    """
    table = _parse(data, path, ("image_id", *_CORNERS))
    ids = _ids(table, path)
    corners = np.stack([_numbers(table, name, path, ids) for name in _CORNERS], axis=1)
    for row in np.flatnonzero((corners[:, 2] < corners[:, 0]) | (corners[:, 3] < corners[:, 1]))[:1]:
        raise ForeignInputError(f"{path}: {ids[row]}: box {_text(corners[row])} has x1 < x0 or y1 < y0")
    scores = _numbers(table, "score", path, ids) if "score" in table.column_names else np.ones(len(ids))
    return BoxRows(ids, corners, scores)


def read_boxes(path: Path, image_ids: Sequence[str]) -> Found:
    """One box an image (N, 4) of a file that `parse_boxes` reads.

    Of several boxes of an image the one with the highest score is taken, the first of equals. An image without a row
    gets the empty box (0, 0, 0, 0), which is never correct. Raises ForeignInputError, naming file or image id.
    """
    rows = parse_boxes(_bytes(path), str(path))
    places = _places(rows.ids, image_ids, str(path))
    boxes, best = np.zeros((len(image_ids), 4)), np.full(len(image_ids), -np.inf)
    for place, box, score in zip(places, rows.corners, rows.scores, strict=True):
        if score > best[place]:
            boxes[place], best[place] = box, score
    return Found(boxes, int(np.isneginf(best).sum()))


def read_classes(path: Path, image_ids: Sequence[str]) -> Found:
    """Ranked classes (N, 5), best first, from columns image_id, class1 ... class5; -1 where a column is absent.

    An image without a row has -1 throughout, which is never correct. Raises ForeignInputError, naming file or id.
    """
    table = _parse(_bytes(path), str(path), ("image_id", "class1"))
    ids = _ids(table, str(path))
    places = _places(ids, image_ids, str(path))
    for image_id, times in Counter(ids).most_common(1):
        if times > 1:
            raise ForeignInputError(f"{path}: {image_id} is listed twice")
    ranked: IntArray = np.full((len(image_ids), TOP), -1, np.int64)
    for rank in range(TOP):
        if f"class{rank + 1}" in table.column_names:
            values = _numbers(table, f"class{rank + 1}", str(path), ids)
            for row in np.flatnonzero(values != np.trunc(values))[:1]:
                raise ForeignInputError(f"{path}: {ids[row]}: class{rank + 1} is {values[row]:g}, no class index")
            ranked[places, rank] = values
    return Found(ranked, len(image_ids) - len(ids))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ForeignInputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ForeignInputError(f"{path}: {error.strerror or error}") from error


def _parse(data: bytes, path: str, needed: Sequence[str]) -> pa.Table:
    try:
        if path.lower().endswith(PARQUET):
            table = pyarrow.parquet.read_table(pa.BufferReader(data))
        else:
            options = pyarrow.csv.ConvertOptions(column_types={"image_id": pa.string()})
            table = pyarrow.csv.read_csv(pa.BufferReader(data), convert_options=options)
    except (pa.ArrowException, OSError) as error:
        raise ForeignInputError(f"{path}: {' '.join(str(error).split())}") from error
    for name in needed:
        if name not in table.column_names:
            raise ForeignInputError(f"{path}: there is no column {name}, only {', '.join(table.column_names)}")
    if table.num_rows == 0:
        raise ForeignInputError(f"{path}: there is no row")
    return table


def _ids(table: pa.Table, path: str) -> list[str]:
    column = table.column("image_id")
    if column.null_count:
        raise ForeignInputError(f"{path}: a row has no image_id")
    return [str(image_id) for image_id in column.to_pylist()]


def _numbers(table: pa.Table, name: str, path: str, ids: Sequence[str]) -> FloatArray:
    try:
        values = np.asarray(table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except (pa.ArrowException, ValueError) as error:
        raise ForeignInputError(f"{path}: column {name} holds {table.column(name).type}, not numbers") from error
    for row in np.flatnonzero(~np.isfinite(values))[:1]:
        raise ForeignInputError(f"{path}: {ids[row]}: {name} is no number")
    return values


def _places(ids: Sequence[str], image_ids: Sequence[str], path: str) -> IntArray:
    known: Mapping[str, int] = {image_id: place for place, image_id in enumerate(image_ids)}
    for image_id in ids:
        if image_id not in known:
            raise ForeignInputError(f"{path}: {image_id}: an id without ground truth")
    return np.array([known[image_id] for image_id in ids], dtype=np.int64)


def _text(box: FloatArray) -> str:
    return ",".join(f"{value:g}" for value in box)
