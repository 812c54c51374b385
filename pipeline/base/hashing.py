"""Fingerprints: short sha256 digests of canonical JSON, the same on every machine and in every process."""

import hashlib
import json
from collections.abc import Iterable

from pipeline.base.json_types import Json

DIGITS = 16


def canonical(value: Json) -> bytes:
    """JSON with sorted keys and no spaces. Raises TypeError or ValueError for values that JSON does not have."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def fingerprint(value: Json) -> str:
    """16 hexadecimal digits that identify a JSON-like value."""
    return hashlib.sha256(canonical(value)).hexdigest()[:DIGITS]


def set_id(keys: Iterable[str]) -> str:
    """The name of a set of shard keys; their order does not matter."""
    return fingerprint(sorted(keys))


def seed_from(*parts: object) -> int:
    """A 63-bit seed from any printable parts, e.g. `seed_from(7, epoch, image_id)`."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
