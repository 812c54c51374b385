"""All images of a run, for an export: found by id, in a fraction of the memory that Python rows would take."""

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.errors import UsageError
from pipeline.store.paths import located
from stages.bases.export_choice import ExportChoice
from stages.formats.entries import Picture, picture_of
from stages.formats.names import folded, plain_name, unique_name

__all__ = ["COLUMNS", "ExportImages", "first_repeated"]

COLUMNS = (
    "image_id", "split", "label", "label_name", "width", "height", "orientation", "turned", "uri", "offset", "length",
    "row", "content_hash",
)  # fmt: skip
_FEW = ("split", "label_name")
"""Columns of few values."""
_CHUNK = 50_000


class ExportImages:
    """All images of a run; a picture's number is its place, from 1, in the order of the image ids.

    roots: source stage -> where its data set is.
    """

    def __init__(self, tables: Iterable[pa.Table], params: ExportChoice, roots: Mapping[str, str]) -> None:
        """tables: of `COLUMNS`, without other references to them: each column is copied, then its original is freed."""
        joined = pa.concat_tables(list(tables))
        columns = {}
        for name in joined.column_names:
            column = joined.column(name)
            joined = joined.drop_columns([name])
            columns[name] = (pc.dictionary_encode(column) if name in _FEW else column).combine_chunks()
            del column
        self._table = pa.table(columns)
        self._numbers = np.empty(len(self._table), np.int32)
        self._numbers[pc.sort_indices(self._table.column("image_id")).to_numpy()] = np.arange(1, len(self._table) + 1)
        self._params, self._roots = params, roots
        keys = self._hashed(lambda image_id: image_id)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    @cached_property
    def classes(self) -> Mapping[int, tuple[int, str]]:
        """Label -> place among the labels that have an image, and name."""
        pairs = self._table.select(["label", "label_name"]).group_by(["label", "label_name"]).aggregate([]).to_pylist()
        named = {row["label"]: row["label_name"] for row in pairs}
        if len(named) < len(pairs):
            raise UsageError(f"a label has two class names, among {len(pairs)} of them")
        for name in named.values():
            _check_words(name, "class")
        return {label: (place, named[label]) for place, label in enumerate(sorted(named))}

    def of_split(self) -> dict[str, int]:
        """How many images each exported split has, including those without a box."""
        counts = pc.value_counts(self._table.column("split")).to_pylist()
        found: dict[str, int] = {}
        for each in counts:
            split = self._params.split_of(each["values"])
            if split is not None:
                found[split] = found.get(split, 0) + each["counts"]
        return {split: found[split] for split in self._params.splits if split in found}

    def pictures(self, image_ids: Sequence[str]) -> dict[str, tuple[Picture, Mapping[str, object]]]:
        """Each picture of an exported split with its row, by id. Raises UsageError for an id of no image."""
        places = self._places(image_ids)
        rows = self._table.take(pa.array(places)).to_pylist()
        found = {}
        for place, image_id, row in zip(places.tolist(), image_ids, rows, strict=True):
            if row["image_id"] != image_id:
                raise UsageError(f"{image_id!r} is no image of this run")
            split = self._params.split_of(row["split"])
            if split is not None:
                row["uri"] = self._uri(row)
                _check_words(row["uri"], image_id)
                name = unique_name(image_id) if self._ambiguous[place] else plain_name(image_id)
                found[image_id] = (
                    picture_of(row, int(self._numbers[place]), self.classes[row["label"]][0], split, name),
                    row,
                )
        return found

    def _places(self, image_ids: Sequence[str]) -> np.ndarray:
        """The rows ``(N,)`` of the ids in the table; any row for an unknown id."""
        at = np.searchsorted(self._keys, _hashes(image_ids))
        places = self._order[np.minimum(at, len(self._order) - 1)]
        return np.asarray(places)

    @cached_property
    def _ambiguous(self) -> np.ndarray:
        """Whether the plain file name of an image is also that of another one, ``(N,)`` bool."""
        keys = self._hashed(lambda image_id: folded(plain_name(image_id)))
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        return np.asarray(counts[inverse] > 1)

    def _hashed(self, change: Callable[[str], str]) -> np.ndarray:
        column = self._table.column("image_id")
        parts = [
            _hashes([change(image_id) for image_id in column.slice(start, _CHUNK).to_pylist()])
            for start in range(0, len(column), _CHUNK)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint64)

    def _uri(self, row: Mapping[str, object]) -> str:
        """The path or URI of the picture; inside an archive or table, with its byte range or row."""
        try:
            uri = located(str(row["uri"]), self._roots)
        except FileNotFoundError as error:
            raise UsageError(f"{row['image_id']}: {error}") from error
        if row["offset"] is not None:
            return f"{uri}#bytes={row['offset']}+{row['length']}"
        return uri if row["row"] is None else f"{uri}#row={row['row']}"


def first_repeated(parts: Callable[[], Iterable[Sequence[str]]]) -> str | None:
    """An id that occurs in two parts, or None. parts: gives the ids of each part; called once or twice."""
    keys = [_hashes(ids) for ids in parts()]
    found, counts = np.unique(np.concatenate(keys) if keys else np.zeros(0, np.uint64), return_counts=True)
    twice = set(found[counts > 1].tolist())
    if not twice:
        return None
    return next(i for ids in parts() for i, key in zip(ids, _hashes(ids).tolist(), strict=True) if key in twice)


def _check_words(text: str, what: str) -> None:
    """Refuse characters that end a line, or that neither XML nor YAML may hold."""
    if not text.isprintable() and any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in text):
        raise UsageError(f"{what!r}: {text!r} has a character that files of other tools cannot hold")


def _hashes(texts: Sequence[str]) -> np.ndarray:
    """A hash of each text, ``(N,)`` uint64."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, np.uint64)
