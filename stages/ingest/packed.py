"""A long sequence in little memory: rows are kept as JSON in blocks of a thousand, items are rebuilt on access.

A listing of files as tuples of texts takes 400 bytes per file; here it takes only the length of the texts.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar, overload

T = TypeVar("T")
S = TypeVar("S")

_BLOCK = 1000
Field = str | int | None
"""Type of the fields of a row."""


class Packed(Sequence[T], Generic[T]):
    """Items made from rows. `make` takes the fields of a row and returns equal items for equal rows."""

    def __init__(self, blocks: Sequence[bytes], length: int, make: Callable[..., T]) -> None:
        self._blocks, self._length, self._make = blocks, length, make
        self._open: tuple[int, Sequence[Sequence[Field]]] = -1, ()
        """Number and rows of the block that was read last."""

    @classmethod
    def of(cls, rows: Iterable[Sequence[Field]], make: Callable[..., T]) -> "Packed[T]":
        """Pack rows, which are consumed one by one."""
        blocks, length, left = [], 0, iter(rows)
        while block := list(islice(left, _BLOCK)):
            blocks.append(json.dumps(block, ensure_ascii=False, separators=(",", ":")).encode())
            length += len(block)
        return cls(blocks, length, make)

    def made_by(self, make: Callable[..., S]) -> "Packed[S]":
        """A sequence of the same rows with another `make`."""
        return Packed(self._blocks, self._length, make)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        for block in self._blocks:
            for row in json.loads(block):
                yield self._make(*row)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(self._length))]
        number, row = divmod(range(self._length)[place], _BLOCK)
        if number != self._open[0]:
            self._open = number, json.loads(self._blocks[number])
        return self._make(*self._open[1][row])
