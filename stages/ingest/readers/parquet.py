"""Reader `parquet`: images in a column of Parquet tables, read by row and never unpacked.

    root/train-00000.parquet      or root/train/0.parquet, or the root is one such file
        image                     a struct of bytes and path, as Hugging Face has it, or bytes
        label                     a text; or an integer, with names in `names` or in Hugging Face's metadata
        split, boxes, objects     optional

Splits are those of column `split`, else those in the names of files or folders, else all images are train. An image id
is the path in the struct if no other image has that path, else the file's path and the row,
``train-00000.parquet#17``, so that appended rows change no id. A struct without bytes names a file below the root, or a
URI.
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.base.errors import UsageError
from stages.formats.file_names import left_out
from stages.ingest.listing import ListedFile, list_files
from stages.ingest.reader import Reader
from stages.ingest.readers.dataset_card import CARD, has_data
from stages.ingest.readers.parquet_file import ImageTable, read_schema, read_table
from stages.ingest.readers.table_columns import Features, TableParams, features_of, image_column
from stages.ingest.readers.table_rows import Stored, TableImages
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Scan
from stages.ingest.split_names import splits_of

__all__ = ["ParquetParams", "ParquetReader", "first_table", "scan_tables"]

_LOG = logging.getLogger("weakbox.ingest")

_READ_AT_ONCE = 8
_LOOKED_AT = 8
_HEAVY = 64 * 2**20
"""Bytes of a row group above which it is reported as slow, if it must be decoded as a whole."""


@dataclass(frozen=True)
class ParquetParams(TableParams):
    """Parameters of reader `parquet`."""


class ParquetReader(Reader[ParquetParams]):
    """Parquet tables with a column of images."""

    name = "parquet"
    Params = ParquetParams

    @property
    def displayed(self) -> bool:
        """True: `datasets` applies the EXIF orientation, and boxes refer to the result."""
        return True

    def scan(self) -> Scan:
        """List the images that have a class.

        Raises:
            UsageError: a missing root, no Parquet file, a damaged one, absent or ambiguous columns, a bad class, split
                or box, no image with a class; the line names the file and the row.
        """
        files = list_files(self.params.root)
        return scan_tables(self.params, files, [file for file in files if file.path.endswith(".parquet")])

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """A Parquet file with a column of images: the root, or one in a folder without metadata of Hugging Face."""
        file = first_table(tree)
        if file is None:
            return None
        try:
            schema = read_schema(file)
            features = features_of(schema)
            image = image_column(schema, features, None, file.path)
        except UsageError:
            return None
        hugging = bool(features) or has_data(tree.head(CARD).decode("utf-8", "replace"))
        return None if hugging and not tree.is_file else Match(f"{file.path} with column {image.column}")


def first_table(tree: Tree) -> ListedFile | None:
    """A Parquet file in the root or at most two folders below it; the root itself if it is one."""
    if tree.is_file:
        path = tree.root.rpartition("/")[2]
        return ListedFile(path, tree.root, "") if path.endswith(".parquet") else None
    folders = tree.folders()[:_LOOKED_AT]
    below = [f"{folder}/{name}" for folder in folders for name in tree.folders(folder)[:_LOOKED_AT]]
    for folder in ("", *folders, *below):
        for name in tree.files(folder):
            if name.endswith(".parquet") and name != "metadata.parquet":
                path = f"{folder}/{name}".lstrip("/")
                return ListedFile(path, f"{tree.root.rstrip('/')}/{path}", "")
    return None


def scan_tables(
    params: TableParams,
    files: Sequence[ListedFile],
    tables: Sequence[ListedFile],
    splits: Mapping[str, str] | None = None,
    features: Features = MappingProxyType({}),
) -> Scan:
    """List the images of Parquet tables. files: all below the root, the tables among them.

    splits: table path -> split; None: by their names. features: those of a dataset card, for tables without their own.

    Raises: UsageError as `ParquetReader.scan` does.
    """
    if not tables:
        raise UsageError(f"dataset: root {params.root}: there are no Parquet files (.parquet)")
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        read = list(pool.map(lambda file: read_table(file, features, params), tables))
    if splits is None:
        unsaid = [file.path for file, table in zip(tables, read, strict=True) if table.columns.split is None]
        splits = splits_of(unsaid)
    images, alone = TableImages(params), Tree(params.root).is_file
    for file, table in zip(tables, read, strict=True):
        _warn_of_slow(file, table)
        _add(images, file, "" if alone else file.path, table, splits.get(file.path, "train"))
    found = list(images.images(files))
    if not found:
        raise UsageError(f"dataset: root {params.root}: no row of {len(tables)} tables has a class")
    taken = {file.path for file in tables} | images.files
    return Scan.of(found, images.left_out() + left_out(file.path for file in files if file.path not in taken))


def _add(images: TableImages, file: ListedFile, uri: str, table: ImageTable, split: str) -> None:
    """Add all rows of a table. uri: path of its file below the root. Raises UsageError."""
    uri = f"{uri}#{table.image.data or table.image.column}"
    used = table.columns.used
    for number, (name, stored, *values) in enumerate(
        zip(table.paths, table.stored, *(table.values[column] for column in used), strict=True)
    ):
        where, row = f"dataset: {file.path}: row {number}", dict(zip(used, values, strict=True))
        place = Stored(f"{file.path}#{number}", uri, file.stamp, row=number)
        if stored:
            images.add_stored(name, place, split, row, table.columns, where)
        elif name:
            images.add_file(name, "", split, row, table.columns, where)
        else:
            images.add_nothing(place, split, row, table.columns, where)


def _warn_of_slow(file: ListedFile, table: ImageTable) -> None:
    if table.decoded > _HEAVY:
        _LOG.warning(
            "dataset: %s: its images are decoded by row groups of %d MB: reading them in another order than the file's"
            " takes long. Dataset.to_parquet of a new `datasets`, or pyarrow with row_group_size=100, writes it better",
            file.path, table.decoded // 10**6,
        )  # fmt: skip
