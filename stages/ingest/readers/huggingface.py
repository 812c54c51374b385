"""Reader `huggingface`: a local folder in a layout of `datasets` and the Hub; no download, no script is run.

    root/README.md                            the dataset card: configs with the files of splits, names of classes
    root/data/train-00000-of-00001.parquet    tables with images (reader `parquet` says how they are read)

    root/train/metadata.csv                   imagefolder: or .jsonl, .parquet: file_name, label, or objects
    root/train/0001.png

    root/dataset_dict.json                    written by save_to_disk; read only from a local disk
    root/train/dataset_info.json, state.json, data-00000-of-00001.arrow

Splits are those of the card, of a column `split`, or of file and folder names; validation is val. Boxes of `objects`
are [x, y, width, height]. An image id is the path of the image's file if no other image has it, else table and row.
"""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.base.errors import UsageError
from pipeline.base.params import option
from stages.formats.file_names import left_out, may_be_image
from stages.ingest.listing import ListedFile, list_files, read_text
from stages.ingest.parsing import parse_json
from stages.ingest.reader import Reader
from stages.ingest.readers.dataset_card import CARD, Config, has_data, read_card
from stages.ingest.readers.metadata_files import FILE_NAME, METADATA, is_metadata, name_column, read_metadata
from stages.ingest.readers.parquet import first_table, scan_tables
from stages.ingest.readers.parquet_file import read_schema
from stages.ingest.readers.saved_arrow import INFO, SPLITS, STATE, arrow_files, read_arrow
from stages.ingest.readers.table_columns import TableParams, columns_of, features_of
from stages.ingest.readers.table_rows import Stored, TableImages
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Scan
from stages.ingest.split_names import split_of, split_of_folders, split_word

__all__ = ["HuggingfaceParams", "HuggingfaceReader"]

_LOOKED_AT = 8
_MOST = 2**20
"""The most bytes of a README.md."""
_KEPT = ("LICENSE", ".gitattributes")
_FOLDER = ""
"""Made-up column of class folder names, for tables without a column of classes; no real column has this name."""


@dataclass(frozen=True)
class HuggingfaceParams(TableParams):
    """Parameters of reader `huggingface`."""

    config: str | None = option(
        None, "config of the dataset card; null: the default one, or the only one", by_content=True
    )


class HuggingfaceReader(Reader[HuggingfaceParams]):
    """A local folder in the layouts of Hugging Face's `datasets`."""

    name = "huggingface"
    Params = HuggingfaceParams

    @property
    def displayed(self) -> bool:
        """True: `datasets` applies the EXIF orientation, and boxes refer to the result."""
        return True

    def scan(self) -> Scan:
        """List the images that have a class.

        Raises:
            UsageError: a missing root, an unknown layout, a damaged file, absent or ambiguous columns, a bad class,
                split or box, no image with a class; the line names the file and the row.
        """
        files = list_files(self.params.root)
        listed = {file.path: file for file in files}
        if SPLITS in listed or STATE in listed:
            return self._scan_saved(files, listed)
        config = self._card(listed)
        metadata = [file for file in files if is_metadata(file.path)]
        tables = [file for file in files if file.path.endswith(".parquet") and file not in metadata]
        if metadata and not tables:
            return self._scan_folder(files, metadata, config)
        return self._scan_tables(files, tables, config)

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Tables with the metadata of `datasets` or a card; metadata beside images; a saved data set."""
        if tree.is_file:
            return None
        if tree.has(SPLITS) or (tree.has(STATE) and tree.has(INFO)):
            return Match(SPLITS if tree.has(SPLITS) else STATE)
        if (path := _metadata(tree)) is not None:
            return Match(path)
        card = has_data(tree.head(CARD).decode("utf-8", "replace"))
        table = first_table(tree)
        if table is None:
            return Match(f"{CARD} with configs", missing="Parquet files or metadata of images") if card else None
        try:
            told = bool(features_of(read_schema(table)))
        except UsageError as error:
            return Match(table.path, missing=f"a table that can be read ({error})") if card else None
        return Match(f"{table.path} with {'features' if told else CARD}") if told or card else None

    def _card(self, listed: Mapping[str, ListedFile]) -> Config:
        text = read_text(listed[CARD], _MOST) if CARD in listed else ""
        return read_card(text, self.params.config)

    def _scan_tables(self, files: Sequence[ListedFile], tables: Sequence[ListedFile], config: Config) -> Scan:
        """List the tables; if a card names files, only those of its train, validation or test."""
        if not config.patterns:
            return scan_tables(self.params, files, tables, None, config.features)
        named = config.splits([file.path for file in tables])
        found = {path: split_of(f"{split}/") if split else split_of(path) or "train" for path, split in named.items()}
        splits = {path: split for path, split in found.items() if split is not None}
        taken = [file for file in tables if file.path in splits]
        others = {file for file in tables if file.path not in splits}
        beside = [file for file in files if file not in others]
        scan = scan_tables(self.params, beside, taken, splits, config.features)
        said = f"{len(others)} tables that config {config.name!r} does not name as train, validation or test"
        return replace(scan, left_out=[*scan.left_out, said]) if others else scan

    def _scan_folder(self, files: Sequence[ListedFile], metadata: Sequence[ListedFile], config: Config) -> Scan:
        """List the images that the metadata files beside them annotate."""
        images, said_at = TableImages(self.params), dict[str | None, str]()
        for file in metadata:
            folder, rows = posixpath.dirname(file.path), read_metadata(file)
            present = list(dict.fromkeys(name for row in rows for name in row.said))
            columns = columns_of(present, config.features, self.params, f"dataset: {file.path}")
            by_folder = columns.label is None and columns.objects is None
            names = name_column(present, self.params.image, f"dataset: {file.path}")
            for where, said in rows:
                name = said.get(names)
                if not isinstance(name, str):
                    raise UsageError(f"{where}: a file name must be a text, not {name!r:.40}")
                within = posixpath.dirname(posixpath.join(folder, name.replace("\\", "/")))
                split = split_of_folders(within)
                if columns.split is None:
                    said_at.setdefault(split, where)
                own = {**said, _FOLDER: _class_of(within)} if by_folder else said
                used = columns._replace(label=_FOLDER) if by_folder else columns
                images.add_file(name, folder, split or "train", own, used, where)
        if None in said_at and len(said_at) > 1:
            raise UsageError(f"{said_at[None]}: its image lies in no folder of a split, as others do")
        return self._scan_of(images, files, metadata)

    def _scan_saved(self, files: Sequence[ListedFile], listed: Mapping[str, ListedFile]) -> Scan:
        """List what save_to_disk wrote: one folder, or one for each split."""
        images, tables = TableImages(self.params), list[ListedFile]()
        for split, folder in _saved_splits(listed):
            for file in arrow_files(folder, listed):
                tables.append(file)
                for number, (columns, said, path, place) in enumerate(read_arrow(file, self.params)):
                    where = f"dataset: {file.path}: row {number}"
                    stored = Stored(f"{file.path}#{number}", file.path, file.stamp, *(place or ()))
                    if place is not None:
                        images.add_stored(path, stored, split, said, columns, where)
                    elif path:
                        images.add_file(path, "", split, said, columns, where)
                    else:
                        images.add_nothing(stored, split, said, columns, where)
        return self._scan_of(images, files, tables)

    def _scan_of(self, images: TableImages, files: Sequence[ListedFile], tables: Sequence[ListedFile]) -> Scan:
        found = list(images.images(files))
        if not found:
            raise UsageError(f"dataset: root {self.params.root}: no image has a class")
        taken = {file.path for file in tables} | images.files
        beside = [file.path for file in files if file.path not in taken]
        unnamed = sum(may_be_image(path) and path.rpartition("/")[2] not in _KEPT for path in beside)
        words = [f"{unnamed} files that the tables do not name"] if unnamed else []
        return Scan.of(
            found, [*images.left_out(), *words, *left_out(path for path in beside if not may_be_image(path))]
        )


def _saved_splits(listed: Mapping[str, ListedFile]) -> list[tuple[str, str]]:
    """Each split with its folder, which has a slash at the end. Raises UsageError."""
    if SPLITS not in listed:
        return [("train", "")]
    where = f"dataset: {SPLITS}"
    said = parse_json(read_text(listed[SPLITS], _MOST), where)
    names = said.get("splits") if isinstance(said, Mapping) else None
    absent = [name for name in names if f"{name}/{STATE}" not in listed] if isinstance(names, list) else [SPLITS]
    if absent or not isinstance(names, list):
        raise UsageError(f"{where}: split {absent[0]!r:.40} has no folder with {STATE}")
    return [(split_word(str(name), where), f"{name}/") for name in names]


def _class_of(folder: str) -> str | None:
    """The class that a folder's name gives; None for the root and for the folder of a split."""
    name = folder.rpartition("/")[2]
    return None if not name or split_of_folders(name) else name


def _metadata(tree: Tree) -> str | None:
    """The path of a metadata file, in the root or one of its folders, that has a column of file names."""
    for folder in ("", *tree.folders()[:_LOOKED_AT]):
        for name in METADATA:
            path = f"{folder}/{name}".lstrip("/")
            if name in tree.files(folder) and (name.endswith(".parquet") or FILE_NAME in _first_line(tree, path)):
                return path
    return None


def _first_line(tree: Tree, path: str) -> str:
    return tree.head(path).split(b"\n", 1)[0].decode("utf-8", "replace")
