"""Thrift's compact protocol, as far as Parquet's page headers and indexes need it: bytes in, numbers and lists out.

pyarrow reads Parquet's footers but does not tell where pages are; this module does.
"""

from typing import TypeAlias

Value: TypeAlias = "bool | int | bytes | list[Value] | dict[int, Value]"
"""A struct is a dict: field number -> value; a double is its 8 bytes."""

_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_DEEPEST = 32


class ThriftError(ValueError):
    """Bytes that are no Thrift, or that end too early."""


def read_struct(data: bytes, start: int = 0) -> tuple[dict[int, Value], int]:
    """The struct at offset `start`, and the offset of its end. Raises ThriftError."""
    reader = _Reader(data, start)
    try:
        return reader.struct(0), reader.at
    except IndexError as error:
        raise ThriftError("it ends too early") from error


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data, self.at = data, at

    def struct(self, depth: int) -> dict[int, Value]:
        """The fields up to the stop field."""
        if depth > _DEEPEST:
            raise ThriftError("it is nested too deeply")
        found: dict[int, Value] = {}
        number = 0
        while (head := self._byte()) != _STOP:
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            found[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Value:
        if kind in _INTEGERS:
            return self._signed()
        if kind == _BYTE:
            return self._byte()
        if kind == _BINARY:
            return self._take(self._unsigned())
        if kind == _DOUBLE:
            return self._take(8)
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth)
        raise ThriftError(f"it has a field of the unknown type {kind}")

    def _list(self, depth: int) -> list[Value]:
        head = self._byte()
        kind, size = head & 15, head >> 4
        size = self._unsigned() if size == 15 else size
        if size > len(self._data) - self.at:
            raise ThriftError("it has a list of more elements than there are bytes")
        if kind in (_TRUE, _FALSE):
            return [self._byte() == _TRUE for _ in range(size)]
        return [self._value(kind, depth + 1) for _ in range(size)]

    def _signed(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)

    def _unsigned(self) -> int:
        number = shift = 0
        while shift < 64:
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
        raise ThriftError("it has a number of more than 64 bits")

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _take(self, size: int) -> bytes:
        self.at += size
        if self.at > len(self._data):
            raise ThriftError("it ends too early")
        return self._data[self.at - size : self.at]
