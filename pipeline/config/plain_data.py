"""Checks of a config before its keys are looked at: plain data, within limits."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json

DEPTH = 100
VALUES = 10_000
"""The most levels, and the most values on all of them together, counting what aliases repeat."""

_LARGEST = 2**63


def check(data: Json, where: str) -> None:
    """Refuse too many values or levels, keys that are no strings, and numbers that are NaN, infinite or over 64 bits.

    Raises: UsageError, one line.
    """
    for path, value in each(data, where):
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    raise UsageError(f"{where}: {path}: the key {key!r} must be a text: quote it")
        elif isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{where}: {path}: {value} is no number")
        elif isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
            raise UsageError(f"{where}: {path}: a number of more than 64 bits")


def each(data: Json, where: str) -> Iterator[tuple[str, Json]]:
    """Every value with its path, `a.b.0`, containers before what they hold. Raises UsageError beyond the limits."""
    waiting: list[tuple[str, int, Any]] = [("", 0, data)]
    seen = 0
    while waiting:
        path, depth, value = waiting.pop()
        seen += 1
        if seen > VALUES or depth > DEPTH:
            raise UsageError(f"{where}: more than {VALUES} values or {DEPTH} levels, with what aliases repeat")
        yield path, value
        if isinstance(value, Mapping):
            below = list(value.items())
        elif isinstance(value, (list, tuple)):
            below = [(str(i), item) for i, item in enumerate(value)]
        else:
            continue
        waiting += [(f"{path}.{key}" if path else str(key), depth + 1, item) for key, item in reversed(below)]
