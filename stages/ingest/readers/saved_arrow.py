"""Folders that `Dataset.save_to_disk` writes: memory-mapped Arrow files, whose images are byte ranges of the file."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from stages.ingest.listing import ListedFile, read_text
from stages.ingest.parsing import parse_json
from stages.ingest.readers.table_columns import (
    Columns,
    ImageColumn,
    TableParams,
    columns_of,
    features_of,
    image_column,
)

if TYPE_CHECKING:
    import pyarrow as pa

INFO, STATE, SPLITS = "dataset_info.json", "state.json", "dataset_dict.json"
_MOST = 64 * 2**20


class ArrowRow(NamedTuple):
    """A row of an Arrow file. place: offset and length of the image's bytes in the file; None: there are none."""

    columns: Columns
    said: Mapping[str, Json]
    path: str | None
    place: tuple[int, int] | None


def arrow_files(folder: str, listed: Mapping[str, ListedFile]) -> list[ListedFile]:
    """The files of one split, in their order. folder: "" or with a slash at its end. Raises UsageError."""
    path = f"{folder}{STATE}"
    state = parse_json(read_text(listed[path], _MOST), f"dataset: {path}")
    said = state.get("_data_files") if isinstance(state, Mapping) else None
    names = [each.get("filename") for each in said if isinstance(each, Mapping)] if isinstance(said, list) else []
    absent = [name for name in names if f"{folder}{name}" not in listed]
    if not names or absent:
        raise UsageError(f"dataset: {path}: names {absent[0] if absent else 'no data files'}, which is not there")
    return [listed[f"{folder}{name}"] for name in names]


def read_arrow(file: ListedFile, params: TableParams) -> Iterator[ArrowRow]:
    """The rows of a local Arrow file. Raises UsageError for one that is damaged, compressed or on another storage."""
    import pyarrow as pa

    where = f"dataset: {file.path}"
    if "://" in file.uri or file.trouble is not None:
        why = file.trouble or "Arrow files are read on this machine's disk alone: export it with Dataset.to_parquet"
        raise UsageError(f"{where}: {why}")
    try:
        with pa.memory_map(file.uri) as mapped:
            whole = mapped.read_buffer()
            yield from _rows(whole, pa.ipc.open_stream(whole), params, where)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{where}: no Arrow stream, or damaged: {error}") from error


def _rows(whole: "pa.Buffer", stream: "pa.RecordBatchReader", params: TableParams, where: str) -> Iterator[ArrowRow]:
    import pyarrow.compute as pc

    features = features_of(stream.schema)
    image = image_column(stream.schema, features, params.image, where)
    columns = columns_of(stream.schema.names, features, params, where)
    if columns.label is None and columns.objects is None:
        raise UsageError(f"{where}: there is no column of classes: set `label`")
    for batch in stream:
        values = batch.column(image.column)
        paths = pc.struct_field(values, "path").to_pylist() if image.path else [None] * len(values)
        said = [batch.column(name).to_pylist() for name in columns.used]
        for place, path, *own in zip(_places(whole, values, image, where), paths, *said, strict=True):
            yield ArrowRow(columns, dict(zip(columns.used, own, strict=True)), path, place)


def _places(whole: "pa.Buffer", values: "pa.Array", image: ImageColumn, where: str) -> Sequence[tuple[int, int] | None]:
    """Where the bytes of each value are in the file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if image.data is None:
        return [None] * len(values)
    data = pc.struct_field(values, "bytes") if image.path or "." in image.data else values
    if not (pa.types.is_binary(data.type) or pa.types.is_large_binary(data.type)):
        raise UsageError(f"{where}: images of type {data.type}: export it with Dataset.to_parquet")
    _, offsets, body = data.buffers()
    if body is None:
        return [None] * len(values)
    start = body.address - whole.address
    if not 0 <= start <= start + body.size <= whole.size:
        raise UsageError(f"{where}: it is compressed: export it with Dataset.to_parquet")
    wide = pa.int64() if pa.types.is_large_binary(data.type) else pa.int32()
    ends = pa.Array.from_buffers(wide, len(data) + data.offset + 1, [None, offsets])[data.offset :].to_pylist()
    there = data.is_valid().to_pylist()
    return [(start + ends[i], ends[i + 1] - ends[i]) if there[i] else None for i in range(len(data))]
