"""Metadata files of Hugging Face's `imagefolder`: a metadata.csv, .jsonl or .parquet beside its images."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from stages.ingest.listing import ListedFile, read_text
from stages.ingest.parsing import parse_json
from stages.ingest.readers.parquet_file import read_rows

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FILE_NAME = "file_name"
_MOST = 2 * 2**30


class MetadataRow(NamedTuple):
    """A row. where: the file and the line, for errors. said: values by column; in a CSV they are texts."""

    where: str
    said: Mapping[str, Json]


def is_metadata(path: str) -> bool:
    """Whether a file is a metadata file, by its name."""
    return path.rpartition("/")[2] in METADATA


def read_metadata(file: ListedFile) -> list[MetadataRow]:
    """The rows of a metadata file. Raises UsageError for a bad line or an unreadable file."""
    if file.path.endswith(".parquet"):
        return [MetadataRow(f"dataset: {file.path}: row {i}", row) for i, row in enumerate(read_rows(file))]
    text = read_text(file, _MOST)
    rows = _csv(text, file.path) if file.path.endswith(".csv") else _jsonl(text, file.path)
    return list(rows)


def name_column(columns: Sequence[str], asked: str | None, where: str) -> str:
    """The column of file names: `asked`, else file_name, else the only one ending in _file_name. Raises UsageError."""
    able = [asked or FILE_NAME] if (asked or FILE_NAME) in columns else []
    if asked is None and not able:
        able = [name for name in columns if name.endswith(f"_{FILE_NAME}")]
    if len(able) != 1:
        what = (
            f"{', '.join(able[:5])} name files: set `image` to one"
            if able
            else f"there is no column {asked or FILE_NAME}"
        )
        raise UsageError(f"{where}: {what}")
    return able[0]


def _csv(text: str, path: str) -> Iterator[MetadataRow]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            where = f"dataset: {path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise UsageError(f"{where}: {len(reader.fieldnames or ())} columns were expected")
            yield MetadataRow(where, row)
    except csv.Error as error:
        raise UsageError(f"dataset: {path}, line {reader.line_num}: {error}") from error


def _jsonl(text: str, path: str) -> Iterator[MetadataRow]:
    for number, line in enumerate(text.split("\n"), 1):
        where = f"dataset: {path}, line {number}"
        if not line.strip():
            continue
        said = parse_json(line, where)
        if not isinstance(said, Mapping):
            raise UsageError(f"{where}: an object was expected, not {said!r:.40}")
        yield MetadataRow(where, said)
