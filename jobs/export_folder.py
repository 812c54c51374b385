"""The folder of an export: what it holds is said in it first, so that a killed export goes on and nothing else is lost.

.weakbox-export.json            which export, whether it is complete, its files that are made of all parts
.weakbox-export/000012.names    the files of a part, written before them
.weakbox-export/000012.json     what the part has: it is complete
.weakbox-export/pieces/...      what parts add to files that are joined at the end
"""

import contextlib
import dataclasses
import json
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

__all__ = ["ExportFolder"]

LIST, STATE = ".weakbox-export.json", ".weakbox-export"

PutFile = Callable[[File], None]


class ExportFolder:
    """One export in one folder, local or remote. Links in it are not followed."""

    def __init__(self, out: str, recipe: str, lineage: dict[str, Json], *, overwrite: bool) -> None:
        """Begin, or go on. Raises UsageError for a folder of other files, or of another export unless `overwrite`."""
        self._out, self._recipe, self._lineage = out, recipe, lineage
        try:
            self.files = Files(out)
            said = self._said()
            if said is not None and (overwrite or said.get("recipe") != recipe):
                if not overwrite:
                    raise UsageError(
                        f"--out {out} holds another export ({said.get('what')}): choose another folder, or --overwrite"
                        " replaces the files of that one"
                    )
                self._remove()
                self._say([], complete=False)
                said = None
            elif said is None:
                if names := self.files.names(""):
                    raise UsageError(f"--out {out} holds files of no export, such as {names[0]}: use an empty folder")
                self._say([], complete=False)
        except (OSError, UnsafePathError, ValueError) as error:
            raise self._trouble(error) from error
        self.complete = bool(said and said.get("complete"))
        if said is not None and not self.complete:
            self._sweep()

    def part(self, number: int) -> Counts | None:
        """What a part that is complete has; None of one that is to be written."""
        data = self._get(f"{STATE}/{number:06d}.json")
        return None if data is None else Counts(**json.loads(data))

    def write(self, number: int, made: Sequence[Made], counts: Counts, put: PutFile) -> None:
        """Write a part: the names of its files, the files, and that it is complete."""
        with self._in_words():
            names = [each.name for each in made if isinstance(each, File)]
            self._put(f"{STATE}/{number:06d}.names", json.dumps(names))
            for each in made:
                if isinstance(each, Piece):
                    self.files.put(_piece(each.section, number), each.data)
                else:
                    put(each)
            self._put(f"{STATE}/{number:06d}.json", json.dumps(dataclasses.asdict(counts)))

    def close(self, made: Sequence[File | Joined], parts: int, put: PutFile) -> list[str]:
        """Write the files that need all parts, then that the export is complete; returns their names."""
        with self._in_words():
            names = [each.name for each in made]
            self._say(names, complete=False)
            for each in made:
                if isinstance(each, File):
                    put(each)
                else:
                    self._join(each, parts)
            self._say(names, complete=True)
            self.files.remove_folder(f"{STATE}/pieces")
        return names

    @property
    def closed(self) -> list[str]:
        """The names of the files that were made of all parts."""
        said = self._said() or {}
        names = said.get("files")
        return [str(name) for name in names] if isinstance(names, list) else []

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
            data = self._get(_piece(pieces.section, number))
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
        """Remove the temporary files of the writes that a kill cut short."""
        for file in self.files.listing(""):
            if file.staged:
                self.files.remove(file.path)

    def _remove(self) -> None:
        """Remove the files that the list of an export names, and the list."""
        for name in self.closed:
            self._remove_one(name)
        for name in self.files.names(STATE):
            if name.endswith(".names"):
                for own in json.loads(self.files.get(f"{STATE}/{name}")):
                    self._remove_one(str(own))
        self.files.remove_folder(STATE)
        self.files.remove(LIST)

    def _remove_one(self, name: str) -> None:
        if name.split("/")[0] not in (LIST, STATE):
            self.files.remove(name)

    def _said(self) -> dict[str, Json] | None:
        data = self._get(LIST)
        try:
            said = None if data is None else json.loads(data)
        except ValueError as error:
            raise UsageError(f"--out {self._out}: {LIST} is damaged: choose another folder") from error
        return said if isinstance(said, dict) else None

    def _say(self, names: Sequence[str], *, complete: bool) -> None:
        said = {"recipe": self._recipe, **self._lineage, "complete": complete, "files": list(names)}
        self._put(LIST, json.dumps(said, indent=1, sort_keys=True))

    def _get(self, name: str) -> bytes | None:
        try:
            return self.files.get(name)
        except FileNotFoundError:
            return None

    def _put(self, name: str, text: str) -> None:
        self.files.put(name, text.encode())

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (OSError, UnsafePathError) as error:
            raise self._trouble(error) from error

    def _trouble(self, error: Exception) -> UsageError:
        if isinstance(error, UsageError) and not isinstance(error, UnsafePathError):
            return error
        return UsageError(f"--out {self._out}: {getattr(error, 'strerror', None) or error}")


def _piece(section: str, number: int) -> str:
    return f"{STATE}/pieces/{section}/{number:06d}"
