"""The index of a tar file: headers are read by range; of the bodies only small ones that are asked for.

Python's own `tarfile` is for archives that are trusted: it takes a damaged header for the end of the archive, reads
names of any length, and needs six times as long.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from pipeline.base.errors import UsageError
from pipeline.store.ranged_file import RangedFile
from stages.ingest.listing import ListedFile

_BLOCK = 512
_FILE, _FOLDER, _LINKS, _SPARSE = (b"\0", b"0", b"7"), (b"5",), (b"1", b"2"), (b"S",)
_LONG_NAME, _PAX, _OF_NO_FILE = (b"L",), (b"x",), (b"K", b"g", b"V")
_COMPRESSED = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip",
}  # fmt: skip
_MOST = 2**20
"""The most bytes of a name, of a body that is read, and of the data after the end mark."""


class TarMember(NamedTuple):
    """A file in a tar. offset, length: of its body in the tar. body: its bytes, where they were asked for.

    Bytes of a name that are not UTF-8 are surrogates in it.
    """

    name: str
    offset: int
    length: int
    body: bytes | None


class _Header(NamedTuple):
    name: bytes
    size: int
    kind: bytes


class _BadTar(Exception):
    """What is wrong with a tar, in words."""


def tar_members(file: ListedFile, wanted: Callable[[str], bool]) -> Iterator[TarMember]:
    """The files in a tar, in its order, without folders. wanted: whether to read the body of a file, by its name.

    Raises:
        UsageError: a tar that is compressed, cut off or damaged, a link, a sparse member, a name or a wanted body of
            more than 1 MiB; the line names the tar.
    """
    if file.trouble is not None:
        raise UsageError(f"dataset: {file.path}: {file.trouble}")
    try:
        source = RangedFile(file.uri, ahead=True)
    except OSError as error:
        raise UsageError(f"dataset: {file.path}: {error.strerror or error}") from error
    try:
        yield from _members(source, wanted)
    except _BadTar as error:
        raise UsageError(f"dataset: {file.path}: {error}") from error
    except OSError as error:
        raise UsageError(f"dataset: {file.path}: {error.strerror or error}") from error
    finally:
        source.close()


def _members(source: RangedFile, wanted: Callable[[str], bool]) -> Iterator[TarMember]:
    offset, said = 0, dict[str, bytes]()
    while (header := _header(source, offset)) is not None:
        body, size = offset + _BLOCK, header.size
        if header.kind in _LONG_NAME:
            said["path"] = _read(source, body, size, "a name").rstrip(b"\0")
        elif header.kind in _PAX:
            said |= _records(_read(source, body, size, "a pax header"), offset)
        elif header.kind not in _OF_NO_FILE:
            size = _size(said, header, offset)
            name = said.get("path", header.name).decode("utf-8", "surrogateescape")
            if _is_file(header, said, name):
                if body + size > source.size:
                    raise _BadTar(f"cut off: {name!r} would end at byte {body + size} of {source.size}")
                yield TarMember(name, body, size, _read(source, body, size, name) if wanted(name) else None)
            said = {}
        offset = body + -(-size // _BLOCK) * _BLOCK


def _is_file(header: _Header, said: dict[str, bytes], name: str) -> bool:
    """Whether a member is a file; False for a folder. Raises _BadTar for any other."""
    if header.kind in _SPARSE or any(key.startswith("GNU.sparse.") for key in said):
        raise _BadTar(f"{name!r} is sparse")
    if header.kind in _LINKS:
        raise _BadTar(f"{name!r} is a link: pack files themselves (tar --dereference --hard-dereference)")
    if header.kind not in _FILE + _FOLDER:
        raise _BadTar(f"{name!r} is of a type that no file has: {header.kind!r}")
    return header.kind in _FILE and not name.endswith("/")


def _header(source: RangedFile, offset: int) -> _Header | None:
    """The header at a byte offset; None at the end mark. Raises _BadTar."""
    block = source.at(offset, _BLOCK)
    if offset == 0:
        _refuse_other_files(block)
    if len(block) < _BLOCK:
        raise _BadTar(f"cut off: there is no end mark, and no whole header at byte {offset}")
    if not block.strip(b"\0"):
        if source.size - offset > _MOST:
            raise _BadTar(f"{source.size - offset} bytes follow its end mark: archives that were joined")
        return None
    if _octal(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 0x20:  # its own field counts as blanks
        raise _BadTar(f"damaged: no header at byte {offset}")
    name, prefix = block[:100].split(b"\0", 1)[0], block[345:500].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0" and prefix:
        name = prefix + b"/" + name
    binary = block[124] == 0x80
    size = int.from_bytes(block[125:136], "big") if binary else _octal(block[124:136])
    if size is None:
        raise _BadTar(f"damaged: no size in the header at byte {offset}")
    return _Header(name, size, block[156:157])


def _octal(field: bytes) -> int | None:
    """An octal field as a number; 0 if it is empty, None if it is not a number."""
    digits = field.split(b"\0", 1)[0].strip(b" ")
    return int(digits or b"0", 8) if not digits.strip(b"01234567") else None


def _records(data: bytes, offset: int) -> dict[str, bytes]:
    """The records `length key=value` of a pax header. Raises _BadTar."""
    found, start = {}, 0
    while start < len(data) and data[start]:
        blank = data.find(b" ", start, start + 10)
        length = data[start : max(blank, start)]
        end = start + int(length) if length.isdigit() else 0
        key, equals, value = data[blank + 1 : end].partition(b"=")
        if not (equals and value.endswith(b"\n") and end <= len(data)):
            raise _BadTar(f"damaged: no pax header at byte {offset}")
        found[key.decode("utf-8", "replace")] = value[:-1]
        start = end
    return found


def _size(said: dict[str, bytes], header: _Header, offset: int) -> int:
    size = said.get("size")
    if size is not None and not (size.isdigit() and len(size) < 20):
        raise _BadTar(f"damaged: no size in the pax header before byte {offset}")
    return (0 if header.kind in _FOLDER else header.size) if size is None else int(size)


def _read(source: RangedFile, offset: int, size: int, what: str) -> bytes:
    if size > _MOST:
        raise _BadTar(f"{what!r} has {size} bytes, more than the limit of {_MOST}")
    data = source.at(offset, size)
    if len(data) < size:
        raise _BadTar(f"cut off within {what!r}")
    return data


def _refuse_other_files(start: bytes) -> None:
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise _BadTar(f"compressed ({name}): images in it cannot be read by range; decompress it")
    if not start:
        raise _BadTar("empty")
