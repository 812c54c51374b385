"""Score maps in Parquet files: finding the row groups of images, and reading their maps as arrays."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

__all__ = ["ParquetMaps"]

_ID, _MAP, _SHAPE = "image_id", "map", ("height", "width")


class _Group(NamedTuple):
    """A row group, and the ids of its rows."""

    path: str
    number: int
    ids: pa.Array


class ParquetMaps:
    """Maps of some Parquet files with columns image_id and map, and height and width where a map is one flat list.

    The ids of all files are read at once, maps when they are asked for, one row group at a time.
    """

    def __init__(self, paths: Sequence[str], open_file: Callable[[str], IO[bytes]]) -> None:
        """Raises: ValueError for a file that is not Parquet, or lacks a column."""
        self._open = open_file
        self._groups = [group for path in paths for group in self._ids(path)]

    def read(self, image_ids: Sequence[str]) -> Iterator[tuple[str, np.ndarray | ValueError]]:
        """Image id and map (h, w), or an error about it, for the images that are found. Raises: ValueError as above."""
        wanted = pa.array(image_ids, pa.string())
        for group in self._groups:
            here = pc.is_in(group.ids, value_set=wanted)
            if pc.any(here).as_py():
                yield from self._maps(group, here)

    def _ids(self, path: str) -> Iterator[_Group]:
        with self._file(path) as file:
            names = file.schema_arrow.names
            if missing := [name for name in (_ID, _MAP) if name not in names]:
                raise ValueError(f"there is no column {missing[0]}, only {', '.join(names)}")
            for number in range(file.num_row_groups):
                ids = file.read_row_group(number, [_ID]).column(_ID).cast(pa.string())
                yield _Group(path, number, ids.combine_chunks())

    def _maps(self, group: _Group, here: pa.Array) -> Iterator[tuple[str, np.ndarray | ValueError]]:
        with self._file(group.path) as file:
            columns = [name for name in (_ID, _MAP, *_SHAPE) if name in file.schema_arrow.names]
            rows = file.read_row_group(group.number, columns).filter(here)
        ids = group.ids.filter(here)
        for row in range(rows.num_rows):
            try:
                shape = [int(rows.column(name)[row].as_py()) for name in columns if name in _SHAPE]
                score_map: np.ndarray | ValueError = _array(rows.column(_MAP)[row], shape)
            except (ValueError, TypeError, OverflowError) as error:
                score_map = ValueError(f"its map is invalid: {error}")
            yield ids[row].as_py(), score_map

    @contextlib.contextmanager
    def _file(self, path: str) -> Iterator[pq.ParquetFile]:
        """An open file; errors of pyarrow become a ValueError that names the file."""
        try:
            with self._open(path) as opened:
                yield pq.ParquetFile(opened)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise ValueError(f"{path}: {' '.join(str(error).split())}") from error


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _array(value: pa.Scalar, shape: Sequence[int]) -> np.ndarray:
    """A map from a list of its rows, or from one list of its numbers and its height and width."""
    if not value.is_valid or not _is_list(value.type) or value.values.null_count:
        raise ValueError("a map is a list of its rows, or of all its numbers, and none is missing")
    rows = value.values
    if not _is_list(rows.type):
        if len(shape) != len(_SHAPE) or None in shape or len(rows) != shape[0] * shape[1]:
            raise ValueError("a flat map needs columns height and width, and height x width numbers")
        return np.asarray(rows.to_numpy(zero_copy_only=False)).reshape(shape)
    width = len(rows[0]) if len(rows) else 0
    flat = rows.flatten()
    if len(flat) != len(rows) * width or pc.any(pc.not_equal(pc.list_value_length(rows), width)).as_py():
        raise ValueError("the rows of a map differ in length")
    return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(rows), width)
