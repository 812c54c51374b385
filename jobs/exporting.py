"""Exporting a run's boxes part by part; a part is a shard of the stage that made them."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from jobs.export_folder import ExportFolder
from jobs.export_images import COLUMNS, ExportImages, first_repeated
from pipeline.base.errors import UsageError
from pipeline.base.hashing import fingerprint
from pipeline.base.json_types import Json
from pipeline.base.params import numeric
from pipeline.base.suggestions import nearest
from pipeline.contract.context import ChangedError
from pipeline.store.paths import UnsafePathError
from pipeline.store.records import Done
from pipeline.store.store import Store
from pipeline.worker.local_context import LocalContext
from stages.bases.export_choice import ExportChoice
from stages.formats.contract import Content, Counts, File, Made
from stages.formats.entries import Choice, Entry, Picture, entry_of
from stages.formats.exporters import exporter

__all__ = ["Exporting", "Source"]

_NO_CLASS = "class_without_image"
"""Counted as a flag: a predicted class that no image of the listing has, which therefore has no name here."""

VERSION = 1
"""Raised whenever the same rows give other files."""

_ROW = ("image_id", "label", "split", "source", "method", "boxes")
_TABLES = {"pseudo_labels": (*_ROW, "masks", "flag"), "predictions": _ROW}


class Source(NamedTuple):
    """What is exported of a run. dones, images: the shards of its stage, and of the stage that lists the images.

    table: pseudo_labels or predictions. roots: source stage -> where its data set is.
    """

    store: Store
    stage: str
    table: str
    dones: Sequence[Done]
    images: Sequence[Done]
    roots: Mapping[str, str]


class Exporting:
    """One export, which goes on where it was stopped."""

    def __init__(self, source: Source, params: ExportChoice, out: str, *, overwrite: bool) -> None:
        """Raises UsageError for a source without boxes, and for a folder that cannot be written to."""
        self._source, self._params = source, params
        self._table = source.table
        self._context = LocalContext(source.store, roots=source.roots)
        self._places: Mapping[str, Mapping[str, Any]] = {}
        self._check_boxes()
        self._lineage: dict[str, Json] = {
            "what": f"{self._table.replace('_', ' ')} of stage {source.stage}, exported by weakbox",
            "format": params.format,
            "stage": source.stage,
            "recipe_of_stage": source.dones[0].recipe if source.dones else "",
        }
        self._folder = ExportFolder(out, self._recipe(), self._lineage, overwrite=overwrite)

    def write(self) -> tuple[list[str], Counts]:
        """Write what is missing; returns the files made from all parts, and the counts of the export.

        Raises: UsageError where no box is left, and for what the format cannot hold.
        """
        total, parts = Counts(), len(self._source.dones)
        if self._folder.complete:
            for number in range(parts):
                _add(total, self._folder.part(number) or Counts())
            return self._folder.closed, total
        self._check()
        params = self._params
        made = exporter(params.format, params.pictures, params.form, len(self._all.classes))
        for number, done in enumerate(self._source.dones):
            counts = self._folder.part(number)
            if counts is None:
                entries, counts = self._entries(done)
                first = sum(total.boxes.values())
                files = self._in_words(partial(made.part, number, entries, first, self._read))
                self._folder.write(number, files, counts, self._put)
            _add(total, counts)
        if not any(total.boxes.values()):
            raise UsageError(f"stage {self._source.stage} has no box to export, of these splits, classes and scores")
        return self._folder.close(list(made.closing(self._content(total))), parts, self._put), total

    def _entries(self, done: Done) -> tuple[list[Entry], Counts]:
        """The images of a shard that have a box, by id; and their counts."""
        rows = self._source.store.table(done, self._table, self._columns).to_pylist()
        found = self._all.pictures(sorted({row["image_id"] for row in rows}))
        self._places = {image_id: place for image_id, (_, place) in found.items()}
        counts, entries = Counts(), []
        for row in sorted(rows, key=lambda row: (row["image_id"], row["method"], row["label"])):
            if row["image_id"] in found:
                picture, _ = found[row["image_id"]]
                entry = self._entry(picture, row, counts)
                if entry is not None and entry.boxes:
                    entries.append(entry)
        entries = self._choice.of_images(entries)
        for picture in dict.fromkeys(entry.picture for entry in entries):
            counts.images[picture.split] = counts.images.get(picture.split, 0) + 1
        for entry in entries:
            split = entry.picture.split
            counts.boxes[split] = counts.boxes.get(split, 0) + len(entry.boxes)
        return entries, counts

    def _entry(self, picture: Picture, row: Mapping[str, Any], counts: Counts) -> Entry | None:
        known = self._all.classes.get(row["label"])
        if self._params.classes is not None and (known is None or known[1] not in self._params.classes):
            return None
        flag: str | None = _NO_CLASS if known is None else row.get("flag")
        if flag is not None and (known is None or not self._params.keep_flagged):
            flags = counts.flagged.setdefault(picture.split, {})
            flags[flag] = flags.get(flag, 0) + 1
            return None
        if known is None or not self._is_good(row):
            return None
        category, name = known
        return entry_of(picture, row, self._choice, name, category)

    @property
    def _columns(self) -> tuple[str, ...]:
        """The columns to read; `quality` only if needed, as tables of older versions lack it."""
        return _TABLES[self._table] if self._params.min_quality is None else (*_TABLES[self._table], "quality")

    def _is_good(self, row: Mapping[str, Any]) -> bool:
        least = self._params.min_quality
        if least is None:
            return True
        return row["quality"] is not None and bool(row["quality"] >= np.float32(least))  # as stored

    @property
    def _choice(self) -> Choice:
        most = 1 if self._params.boxes == "best" else self._params.max_boxes
        return Choice(most, self._params.min_score)

    def _content(self, total: Counts) -> Content:
        members = self._all.of_split()
        total.images = {split: total.images.get(split, 0) for split in members}
        total.boxes = {split: total.boxes.get(split, 0) for split in members}
        total.without = {split: number - total.images[split] for split, number in members.items()}
        names = [name for _, name in sorted(self._all.classes.values())]
        return Content(total, names, str(self._lineage["what"]), self._lineage)

    def _put(self, file: File) -> None:
        """Write a file; a picture is copied or linked."""
        if isinstance(file.data, bytes):
            self._folder.files.put(file.name, file.data, durable=False)
        elif self._params.pictures == "copy":
            self._folder.files.put(file.name, self._read(file.data), durable=False)
        else:
            place = os.path.abspath(file.data.uri)
            if not any(place.startswith(f"{os.path.abspath(root)}/") for root in self._source.roots.values()):
                raise UsageError(f"{file.data.image_id}: {place} is no file of the data set: copy pictures")
            if not os.path.isfile(place):
                raise UsageError(f"{file.data.image_id}: {place} is no file of this machine: copy pictures")
            self._folder.files.link(file.name, place)

    def _read(self, picture: Picture) -> bytes:
        place: Any = self._places[picture.image_id]
        try:
            return self._context.read_image(place, place["content_hash"])
        except (OSError, UnsafePathError, ChangedError) as error:
            raise UsageError(f"{picture.image_id}: {error}") from error

    def _in_words(self, make: Callable[[], Iterable[Made]]) -> list[Made]:
        try:
            return list(make())
        except ValueError as error:
            raise UsageError(f"stage {self._source.stage}: {error}") from error

    def _check(self) -> None:
        """Refuse unknown classes, and an image that is in two parts, which would overwrite each other's files."""
        names = {name for _, name in self._all.classes.values()}
        if unknown := sorted(set(self._params.classes or ()) - names):
            raise UsageError(f"there is no class {unknown[0]!r}{nearest(unknown[0], names)}")
        if (again := first_repeated(self._ids)) is not None:
            raise UsageError(f"stage {self._source.stage}: {again!r} is in two of its shards")

    def _ids(self) -> Iterator[Sequence[str]]:
        for done in self._source.dones:
            table = self._source.store.table(done, self._table, ("image_id",))
            yield table.column("image_id").unique().to_pylist()

    def _check_boxes(self) -> None:
        for done in self._source.dones:
            column = self._source.store.table(done, self._table, ("boxes",)).column("boxes")
            if self._params.min_quality is not None and self._table != "pseudo_labels":
                raise UsageError(f"stage {self._source.stage} has no qualities: min_quality is for a consensus")
            if len(column) and column.null_count == len(column):
                raise UsageError(f"stage {self._source.stage} predicts classes, no boxes: there is nothing to export")
            if len(column):
                return

    def _recipe(self) -> str:
        tables = [(self._source.dones, self._table), (self._source.images, "images")]
        read = [[done.recipe, done.key, done.tables[table].sha256] for dones, table in tables for done in dones]
        roots = {} if self._params.pictures == "embed" else dict(self._source.roots)
        return fingerprint([VERSION, numeric(self._params), self._source.stage, read, roots])

    @cached_property
    def _all(self) -> ExportImages:
        columns = COLUMNS if self._params.pictures in ("copy", "embed") else COLUMNS[:-1]  # content_hash only if read
        tables = (self._source.store.table(done, "images", columns) for done in self._source.images)
        return ExportImages(tables, self._params, self._source.roots)


def _add(total: Counts, counts: Counts) -> None:
    """Add the counts of a part."""
    for own, added in ((total.images, counts.images), (total.boxes, counts.boxes)):
        for split, number in added.items():
            own[split] = own.get(split, 0) + number
    for split, flags in counts.flagged.items():
        known = total.flagged.setdefault(split, {})
        for flag, number in flags.items():
            known[flag] = known.get(flag, 0) + number
