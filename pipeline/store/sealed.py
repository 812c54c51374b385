"""Small JSON objects with a checksum: how every JSON file of a run root is written, and the one way to read it.

{"sha256":"<64 hexadecimal digits>","content":<JSON>}

The digest is that of the bytes of the content, so any flipped bit of the file is found, in the content or beside it.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import NoReturn, TypeVar

from pipeline.base.json_types import Json

T = TypeVar("T", bool, int, float, str, list[Json], dict[str, Json])

_HEAD, _BETWEEN, _TAIL = b'{"sha256":"', b'","content":', b"}"
_START = len(_HEAD) + 64 + len(_BETWEEN)
_LARGEST = 2**63
_DIGITS = 20
"""The most characters of an integer of 64 bits."""


def seal(content: Mapping[str, object]) -> bytes:
    """JSON-like data as the bytes of a file. Raises TypeError or ValueError for what `unseal` would not take."""
    body = json.dumps(content, allow_nan=False).encode()
    _parsed(body)
    return _HEAD + hashlib.sha256(body).hexdigest().encode() + _BETWEEN + body + _TAIL


def unseal(data: bytes) -> dict[str, Json]:
    """The content of a sealed file, which must be an object.

    Raises: ValueError for a file that is cut off, changed, or was never sealed; for NaN, infinite numbers, integers of
    more than 64 bits, and nesting that is too deep.
    """
    body = data[_START : -len(_TAIL)]
    if data != _HEAD + hashlib.sha256(body).hexdigest().encode() + _BETWEEN + body + _TAIL:
        raise ValueError("its checksum does not fit its content")
    return _parsed(body)


def value_of(said: Mapping[str, Json], name: str, kind: type[T]) -> T:
    """A required value of this type; an int also counts as a float. Raises ValueError where it is missing or other."""
    value = said.get(name)
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name} is {'missing' if value is None else f'no {kind.__name__}'}")
    return value  # type: ignore[return-value]  # isinstance above


def _parsed(body: bytes) -> dict[str, Json]:
    try:
        said = json.loads(body, parse_constant=_refused, parse_int=_whole, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("its content is nested too deeply") from error
    if not isinstance(said, dict):
        raise ValueError("an object was expected")
    return said


def _whole(text: str) -> int:
    if len(text) > _DIGITS or not -_LARGEST <= (number := int(text)) < _LARGEST:
        _refused(text)
    return number


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        _refused(text)
    return number


def _refused(text: str) -> NoReturn:
    raise ValueError(f"{text[:_DIGITS]} is no number that a run root may hold")
