"""The folder of an export. Files are listed in it before they are written: a killed export goes on, other files stay.

.weakbox-export.json            which export, whether it is complete, its files that are made from all parts
.weakbox-export/000012.names    the names of a part's files, written before them
.weakbox-export/000012.json     the counts of a part, written when the part is complete
.weakbox-export/pieces/...      what parts add to files that are joined at the end
"""

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.store.files import Files
from pipeline.store.paths import UnsafePathError
from stages.formats.contract import Counts, File, Joined, Made, Piece, Pieces

__all__ = ["ExportFolder", "check_folder"]

LIST, STATE = ".weakbox-export.json", ".weakbox-export"
_PIECES = f"{STATE}/pieces"

PutFile = Callable[[File], None]


def check_folder(out: str, form: str, *, other: bool, overwrite: bool) -> None:
    """Refuse a folder that no export in a format can go into, before boxes are computed for it.

    other: whether it is known that the export would be of other boxes than the one that was there last.
    Raises: UsageError for a folder of other files, or, unless `overwrite`, of another export.
    """
    try:
        files = Files(out)
        said = _said(files, out)
        _check_own(files, out, said)
    except (OSError, UnsafePathError, ValueError) as error:
        raise _trouble(out, error) from error
    if said is not None and (other or said.get("format") != form) and not overwrite:
        raise _other(out, said)


class ExportFolder:
    """One export in one folder, local or remote. Links in it are not followed."""

    def __init__(self, out: str, recipe: str, lineage: dict[str, Json], *, overwrite: bool) -> None:
        """Begin, or go on. Raises UsageError for a folder of other files, or of another export unless `overwrite`."""
        self._out, self._recipe, self._lineage = out, recipe, lineage
        try:
            self.files = Files(out)
            said = _said(self.files, out)
            self.complete = said is not None and said.get("recipe") == recipe and said.get("complete") is True
            _check_own(self.files, out, said)
            if said is not None and not overwrite and said.get("recipe") != recipe:
                raise _other(out, said)
            if said is not None and not self.complete:
                self._sweep()
            if said is not None and overwrite and (self.complete or said.get("recipe") != recipe):
                self._remove()
                said, self.complete = None, False
            if said is None:
                self._say([], complete=False)
            if self.complete:
                self.files.remove_folder(_PIECES)
        except (OSError, UnsafePathError, ValueError) as error:
            raise _trouble(out, error) from error

    def part(self, number: int) -> Counts | None:
        """The counts of a complete part; None for a part that is to be written."""
        data = _get(self.files, f"{STATE}/{number:06d}.json")
        return None if data is None else Counts(**json.loads(data))

    def write(self, number: int, made: Sequence[Made], counts: Counts, put: PutFile) -> None:
        """Write a part: the names of its files, the files, and its counts, which mark it complete."""
        with self._in_words():
            listed = f"{STATE}/{number:06d}.names"
            names = [each.name for each in made if isinstance(each, File)]
            self._refuse(names, self._names(listed))
            self._put(listed, json.dumps(names))
            for each in made:
                if isinstance(each, Piece):
                    self.files.put(_piece(each.section, number), each.data)
                else:
                    put(each)
            if names and "://" not in self._out:
                os.sync()  # else a power cut may leave a part that is marked complete and is not
            self._put(f"{STATE}/{number:06d}.json", json.dumps(dataclasses.asdict(counts), sort_keys=True))

    def close(self, made: Sequence[File | Joined], parts: int, put: PutFile) -> list[str]:
        """Write the files that need all parts, then that the export is complete; returns their names."""
        with self._in_words():
            names = [each.name for each in made]
            self._refuse(names, self.closed)
            self._say(names, complete=False)
            for each in made:
                if isinstance(each, File):
                    put(each)
                else:
                    self._join(each, parts)
            self._say(names, complete=True)
            self.files.remove_folder(_PIECES)
        return names

    @property
    def closed(self) -> list[str]:
        """The names of the files that were made from all parts."""
        said = _said(self.files, self._out) or {}
        names = said.get("files")
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

    def _join(self, joined: Joined, parts: int) -> None:
        with tempfile.NamedTemporaryFile() as file:
            if joined.tables:
                self._join_tables(joined, parts, file)
            else:
                for content in joined.content:
                    chunks = self._pieces(content, parts) if isinstance(content, Pieces) else [content]
                    for chunk in chunks:
                        file.write(chunk)
            file.flush()
            self.files.put_file(joined.name, file.name)

    def _pieces(self, pieces: Pieces, parts: int) -> Iterator[bytes]:
        first = True
        for number in range(parts):
            data = _get(self.files, _piece(pieces.section, number))
            if data:
                yield data if first else pieces.separator + data
                first = False

    def _join_tables(self, joined: Joined, parts: int, file: IO[bytes]) -> None:
        writer = None
        for section in (content.section for content in joined.content if isinstance(content, Pieces)):
            for data in self._pieces(Pieces(section), parts):
                table = pq.read_table(pa.BufferReader(data))
                writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
                writer.write_table(table)
        if writer is not None:
            writer.close()

    def _sweep(self) -> None:
        """Remove the temporary files of killed writes."""
        for file in self.files.listing(""):
            if file.staged:
                self.files.remove(file.path)

    def _remove(self) -> None:
        """Remove the files that an export lists, and folders that are empty then; its list stays until the next one."""
        folders = set()
        lists = [f"{STATE}/{name}" for name in self.files.names(STATE) if name.endswith(".names")]
        for name in (*self.closed, *(own for listed in lists for own in self._names(listed))):
            if name.split("/")[0] not in (LIST, STATE):
                with contextlib.suppress(IsADirectoryError, PermissionError):
                    self.files.remove(name)
                folders.add(name.split("/")[0] if "/" in name else "")
        for folder in sorted(folders - {""}):
            self.files.remove_empty_folders(folder)
        self.files.remove_folder(STATE)

    def _refuse(self, names: Sequence[str], own: Sequence[str]) -> None:
        """Refuse to overwrite a file that does not belong to this export."""
        for name in sorted(set(names) - set(own)):
            if self.files.holds(name):
                raise UsageError(f"--out {self._out}: {name} is there and of no export: it would be lost")

    def _names(self, listed: str) -> list[str]:
        """The names in a list; none where there is no list, or one that is damaged."""
        try:
            said = json.loads(_get(self.files, listed) or b"[]")
        except ValueError:
            return []
        return [name for name in said if isinstance(name, str)] if isinstance(said, list) else []

    def _say(self, names: Sequence[str], *, complete: bool) -> None:
        said = {"recipe": self._recipe, **self._lineage, "complete": complete, "files": list(names)}
        self._put(LIST, json.dumps(said, indent=1, sort_keys=True))

    def _put(self, name: str, text: str) -> None:
        self.files.put(name, text.encode())

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (OSError, UnsafePathError) as error:
            raise _trouble(self._out, error) from error


def _said(files: Files, out: str) -> dict[str, Json] | None:
    """What a folder's list says of the export in it; None without a list."""
    data = _get(files, LIST)
    try:
        said = None if data is None else json.loads(data)
    except ValueError as error:
        raise UsageError(f"--out {out}: {LIST} is damaged: choose another folder") from error
    return said if isinstance(said, dict) else None


def _get(files: Files, name: str) -> bytes | None:
    try:
        return files.get(name)
    except FileNotFoundError:
        return None


def _check_own(files: Files, out: str, said: dict[str, Json] | None) -> None:
    if said is None and (names := files.names("")):
        raise UsageError(f"--out {out} holds files of no export, such as {names[0]}: use an empty folder")


def _other(out: str, said: dict[str, Json]) -> UsageError:
    return UsageError(
        f"--out {out} holds another export ({said.get('what')}): choose another folder, or --overwrite replaces the"
        " files of that one"
    )


def _trouble(out: str, error: Exception) -> UsageError:
    if isinstance(error, UsageError) and not isinstance(error, UnsafePathError):
        return error
    return UsageError(f"--out {out}: {getattr(error, 'strerror', None) or error}")


def _piece(section: str, number: int) -> str:
    return f"{_PIECES}/{section}/{number:06d}"
