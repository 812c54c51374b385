"""Files that were replaced with their size and time kept: found by reading them, and remembered beside their stamps."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.store.encoding import read_texts
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import Done
from pipeline.store.store import Store
from stages.ingest.scan import Candidate

Replaced = Mapping[str, str]
"""Image id -> the stamp that its file has had since, and its content: ``stamp~sha256``."""

_READERS = 8


def load_replaced(store: Store, folder: RecipeFolder) -> Replaced:
    """What earlier runs found. Raises DamagedError."""
    found = store.read(folder.replaced, read_texts)
    return found or {}


def stamp_of(candidate: Candidate, replaced: Replaced) -> str:
    """The stamp of a file, with its content where it was replaced without another stamp."""
    stamp, known = candidate.image.stamp, replaced.get(candidate.image.image_id, "")
    return known if known.startswith(f"{stamp}~") else stamp


def find_replaced(store: Store, done: Done, rows: Sequence[Candidate], read: Callable[[str], bytes]) -> dict[str, str]:
    """The images of a shard whose files no longer hold what it was made of: image id -> stamp and content."""
    tables = [store.table(done, name, ("image_id", "content_hash")) for name in ("images", "quarantine")]
    known = {row["image_id"]: row["content_hash"] for table in tables for row in table.to_pylist()}

    def content(row: Candidate) -> str:
        return hashlib.sha256(read(row.image.uri)).hexdigest()

    with ThreadPoolExecutor(_READERS) as pool:
        hashes = list(pool.map(content, rows))
    return {
        row.image.image_id: f"{row.image.stamp}~{found}"
        for row, found in zip(rows, hashes, strict=True)
        if known.get(row.image.image_id) not in (None, found)
    }
