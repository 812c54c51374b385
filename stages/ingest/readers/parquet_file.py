"""One Parquet file of images: the annotations of each row. No image is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.store.ranged_file import RangedFile
from stages.ingest.listing import ListedFile
from stages.ingest.readers.row_annotations import OBJECT_KEYS
from stages.ingest.readers.table_columns import (
    Columns,
    Features,
    ImageColumn,
    TableParams,
    columns_of,
    features_of,
    image_column,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


_POINTER = b"version https://git-lfs"


class ImageTable(NamedTuple):
    """The annotations in the rows of a file.

    values: column -> values. paths: paths of the images, None where absent. stored: whether a row has the image's
    bytes. decoded: bytes of the largest row group that must be decoded whole, as its images are no ranges of the file.
    """

    image: ImageColumn
    columns: Columns
    values: dict[str, list[Json]]
    paths: list[str | None]
    stored: list[bool]
    decoded: int


def read_schema(file: ListedFile) -> "pa.Schema":
    """The schema of a file, with its metadata. Raises UsageError for a file that is no Parquet."""
    with _opened(file) as parquet:
        return parquet.schema_arrow


def read_rows(file: ListedFile) -> list[dict[str, Json]]:
    """All columns of a small file, row by row. Raises UsageError."""
    with _opened(file) as parquet:
        rows: list[dict[str, Json]] = parquet.read(use_threads=False).to_pylist()
        return rows


def read_table(file: ListedFile, features: Features, params: TableParams) -> ImageTable:
    """Read the annotations of a file's images. features: those of a dataset card, for a file without its own.

    Raises: UsageError for a file that is no Parquet or is damaged, and for absent or ambiguous columns.
    """
    where = f"dataset: {file.path}"
    with _opened(file) as parquet:
        schema = parquet.schema_arrow
        features = features_of(schema) or features
        image = image_column(schema, features, params.image, where)
        columns = columns_of(schema.names, features, params, where)
        if columns.label is None and columns.objects is None:
            names = ", ".join(schema.names[:8])
            raise UsageError(f"{where}: there is no column of classes among {names}: set `label`")
        table = parquet.read([leaf for leaf in _leaves(parquet) if _is_read(leaf, image, columns)], use_threads=False)
        values = {name: table.column(name).to_pylist() for name in columns.used}
        paths = _paths(table, image)
        return ImageTable(image, columns, values, paths, _stored(parquet, image), _decoded(parquet, image))


@contextmanager
def _opened(file: ListedFile) -> "Iterator[pq.ParquetFile]":
    """An open file; errors inside the block are raised as UsageError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    where, source = f"dataset: {file.path}", None
    try:
        if file.trouble is not None:
            raise UsageError(f"{where}: {file.trouble}")
        source = RangedFile(file.uri)
        yield pq.ParquetFile(source, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        if source is None or source.failure is not None:
            raise UsageError(f"{where}: {error}") from error
        if source.at(0, len(_POINTER)) == _POINTER:
            raise UsageError(f"{where}: a pointer of git-lfs: `git lfs pull` fetches the file itself") from error
        raise UsageError(f"{where}: no Parquet, or damaged: {' '.join(str(error).split())}") from error
    finally:
        if source is not None:
            source.close()


def _leaves(parquet: "pq.ParquetFile") -> list[str]:
    return [parquet.metadata.schema.column(i).path for i in range(parquet.metadata.num_columns)]


def _is_read(leaf: str, image: ImageColumn, columns: Columns) -> bool:
    """Whether a column, or a field of one, is needed; images and the outlines of objects are not."""
    top, *fields = leaf.split(".")
    if top == columns.objects:
        return not OBJECT_KEYS.isdisjoint(fields)
    return top in columns.used or leaf == (image.path or "")


def _paths(table: "pa.Table", image: ImageColumn) -> list[str | None]:
    import pyarrow.compute as pc

    if image.path is None:
        return [None] * table.num_rows
    found: list[str | None] = pc.struct_field(table.column(image.column), image.path.split(".")[1:]).to_pylist()
    return found


def _stored(parquet: "pq.ParquetFile", image: ImageColumn) -> list[bool]:
    """Whether each row has bytes, by the null counts of row groups; a group with some nulls is read."""
    metadata = parquet.metadata
    if image.data is None:
        return [False] * metadata.num_rows
    number = _leaves(parquet).index(image.data)
    found: list[bool] = []
    for group in range(metadata.num_row_groups):
        said = metadata.row_group(group).column(number).statistics
        rows = metadata.row_group(group).num_rows
        absent = said.null_count if said is not None and said.has_null_count else 0
        found += [absent == 0] * rows if absent in (0, rows) else _valid(parquet, group, image.data)
    return found


def _valid(parquet: "pq.ParquetFile", group: int, data: str) -> list[bool]:
    import pyarrow.compute as pc

    found: list[bool] = []
    for batch in parquet.iter_batches(16, row_groups=[group], columns=[data], use_threads=False):
        values, fields = batch.column(0), data.split(".")[1:]
        found += (pc.struct_field(values, fields) if fields else values).is_valid().to_pylist()
    return found


def _decoded(parquet: "pq.ParquetFile", image: ImageColumn) -> int:
    from pipeline.worker.plain_pages import is_plain

    if image.data is None:
        return 0
    metadata, number = parquet.metadata, _leaves(parquet).index(image.data)
    chunks = [metadata.row_group(group).column(number) for group in range(metadata.num_row_groups)]
    column = metadata.schema.column(number)
    return max((chunk.total_uncompressed_size for chunk in chunks if not is_plain(chunk, column)), default=0)
