"""A local or remote file that is read by ranges, for readers of parts of large archives and tables."""

import os
import weakref

from fsspec.implementations.local import LocalFileSystem

from pipeline.store.files import open_filesystem, retrying

_LEAST, _FIRST, _MOST = 512, 4096, 2**20
"""Bytes fetched ahead: the least and the most after a jump, and the most in sequential reads."""


class RangedFile:
    """A seekable binary file for reading by one thread; each fetch is one request.

    ahead: fetch more than is asked for. After a jump, as many bytes as were read after the jump before, so that a file
    of short headers between long bodies takes one request per header and fetches little else. In sequential reads,
    twice as many each time.

    size: of the file, in bytes. failure: the storage error that ended the last read, which a library may hide.

    Raises: OSError of the storage; FileNotFoundError for a file that is absent.
    """

    def __init__(self, uri: str, *, ahead: bool = False) -> None:
        self._fs, self._path = open_filesystem(uri)
        self._local: int | None = None
        if isinstance(self._fs, LocalFileSystem):
            self._local = os.open(self._path, os.O_RDONLY)
            self._let_go = weakref.finalize(self, os.close, self._local)
        self.size = int(retrying(lambda: self._fs.size(self._path)))
        self.failure: OSError | None = None
        self.closed = False
        self._ahead, self._position = ahead, 0
        self._start, self._held = 0, b""
        self._jumped, self._used, self._window = 0, _FIRST, _FIRST

    def at(self, offset: int, length: int) -> bytes:
        """The bytes of a range; fewer where the file ends."""
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        if not self._start <= offset < end <= self._start + len(self._held):
            ahead = self._reach(offset) if self._ahead else 0
            self._held = self.fetch(offset, min(max(end, offset + ahead), self.size))
            self._start = offset
        self._used = end - self._jumped
        return self._held[offset - self._start : end - self._start]

    def _reach(self, offset: int) -> int:
        """How many bytes to fetch from this offset."""
        if self._start <= offset <= self._start + len(self._held) + _FIRST:
            self._window = min(2 * self._window, _MOST)
        else:
            self._jumped, self._window = offset, min(max(self._used, _LEAST), _FIRST)
        return self._window

    def fetch(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end` by one request; independent of the reads, so that threads may share it."""
        try:
            data = self._range(start, end)
            if len(data) != end - start:
                raise OSError(f"{self._path} became shorter while it was read")
        except OSError as error:
            self.failure = error
            raise
        return data

    def _range(self, start: int, end: int) -> bytes:
        if self._local is not None:
            return os.pread(self._local, end - start, start)
        return bytes(retrying(lambda: self._fs.cat_file(self._path, start=start, end=end)))

    def read(self, length: int = -1) -> bytes:
        """The next bytes; all that are left where `length` is negative."""
        data = self.at(self._position, self.size - self._position if length < 0 else length)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte, counted from the start, from where it stands, or from the end."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        return self._position

    def tell(self) -> int:
        """The current position."""
        return self._position

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Close the file."""
        self.closed = True
        if self._local is not None:
            self._let_go()
