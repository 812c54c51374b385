"""Small JSON objects with a checksum: how every JSON file of a run root is written, and the one way to read it.

{"sha256":"<64 hexadecimal digits>","content":<JSON>}

The digest is that of the bytes of the content, so any flipped bit of the file is found, in the content or beside it.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import TypeVar

from pipeline.base.json_types import Json

T = TypeVar("T", bool, int, float, str, list[Json], dict[str, Json])

_HEAD, _BETWEEN, _TAIL = b'{"sha256":"', b'","content":', b"}"
_START = len(_HEAD) + 64 + len(_BETWEEN)


def seal(content: Mapping[str, object]) -> bytes:
    """JSON-like data as the bytes of a file. Raises TypeError or ValueError for what JSON cannot say."""
    body = json.dumps(content, allow_nan=False).encode()
    return _HEAD + hashlib.sha256(body).hexdigest().encode() + _BETWEEN + body + _TAIL


def unseal(data: bytes) -> dict[str, Json]:
    """The content of a sealed file, which must be an object.

    Raises: ValueError for a file that is cut off, changed, or was never sealed.
    """
    body = data[_START : -len(_TAIL)]
    if data != _HEAD + hashlib.sha256(body).hexdigest().encode() + _BETWEEN + body + _TAIL:
        raise ValueError("its checksum does not fit its content")
    try:
        said = json.loads(body, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("its content is nested too deeply") from error
    if not isinstance(said, dict):
        raise ValueError("an object was expected")
    return said


def value_of(said: Mapping[str, Json], name: str, kind: type[T]) -> T:
    """A value that must be there, of this type; an integer is a number too. Raises ValueError for any other."""
    value = said.get(name)
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name} is {'missing' if value is None else f'no {kind.__name__}'}")
    return value  # type: ignore[return-value]  # isinstance above


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")
