"""Finding files whose content was replaced while their stamp (size and time, or tag) stayed the same.

A stamp says whether to read a file again. Where stamps cannot be trusted, files are hashed and compared; the hash of a
replaced file is kept with the listing as ``stamp~sha256``, and is valid as long as the stamp is the same.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.base.dataset_uri import dataset_uri
from pipeline.base.errors import UsageError
from pipeline.contract.context import ImagePlace
from pipeline.store.records import Done
from pipeline.store.store import Store
from stages.ingest.scan import Candidate, Mask

Contents = Mapping[str, str]
"""Image id, or uri of a mask -> ``stamp~sha256``."""
_TRUTH = "truth"
"""Name of the stage and of the table that hold the hashes of masks."""
Read = Callable[[ImagePlace], bytes]

_READERS = 8


def stamp_of(candidate: Candidate, contents: Contents) -> str:
    """The stamp of an image's file, with the hash of its content where the file was found replaced."""
    return _stamp(candidate.image.stamp, contents.get(candidate.image.image_id, ""))


def mask_stamp(mask: Mask, contents: Contents) -> str:
    """The stamp of a mask's file, with the hash of its content where the file was found replaced."""
    return _stamp(mask.stamp, contents.get(mask.uri, ""))


def contents_of(rows: Iterable[Candidate], contents: Contents) -> dict[str, str]:
    """The entries of `contents` for these images and their masks that are still valid."""
    if not contents:
        return {}
    found = {row.image.image_id: stamp_of(row, contents) for row in rows}
    found |= {mask.uri: mask_stamp(mask, contents) for row in rows for mask in masks_of(row)}
    return {name: stamp for name, stamp in found.items() if contents.get(name) == stamp}


def replaced_images(store: Store, done: Done, rows: Sequence[Candidate], read: Read) -> dict[str, str]:
    """Image id -> ``stamp~sha256``, for images of a committed shard whose files were replaced. Raises UsageError."""
    tables = [store.table(done, name, ("image_id", "content_hash")) for name in ("images", "quarantine")]
    known = {row["image_id"]: row["content_hash"] for table in tables for row in table.to_pylist()}
    rows = [row for row in rows if row.image.trouble is None]
    hashes = _hashes([row.image.place for row in rows], read)
    return {
        row.image.image_id: f"{row.image.stamp}~{found}"
        for row, found in zip(rows, hashes, strict=True)
        if known.get(row.image.image_id) not in (None, found)
    }


def replaced_masks(store: Store, stage: str, rows: Iterable[Candidate], read: Read) -> dict[str, str]:
    """Mask uri -> ``stamp~sha256``, for the masks of a stage's images whose files were replaced. Raises UsageError."""
    known = _known_masks(store)
    masks = [mask for row in rows for mask in masks_of(row) if dataset_uri(stage, mask.uri) in known]
    hashes = _hashes([{"uri": mask.uri, "offset": None, "length": None, "row": None} for mask in masks], read)
    return {
        mask.uri: f"{mask.stamp}~{found}"
        for mask, found in zip(masks, hashes, strict=True)
        if known[dataset_uri(stage, mask.uri)] != found
    }


def masks_of(row: Candidate) -> tuple[Mask, ...]:
    """All mask files of an image."""
    return (*row.image.masks, *row.image.ignores)


def _stamp(stamp: str, known: str) -> str:
    return known if known.startswith(f"{stamp}~") else stamp


def _known_masks(store: Store) -> dict[str, str]:
    """URI -> hash of every mask in the newest table truth."""
    complete = store.newest_set(_TRUTH)
    found: dict[str, str] = {}
    for done in complete.dones.values() if complete else ():
        for row in store.table(done, _TRUTH).to_pylist():
            found |= zip(row["mask_uris"], row["mask_hashes"], strict=True)
            found |= zip(row["ignore_uris"], row["ignore_hashes"], strict=True)
    return found


def _hashes(places: Sequence[ImagePlace], read: Read) -> list[str]:
    def content(place: ImagePlace) -> str:
        try:
            return hashlib.sha256(read(place)).hexdigest()
        except OSError as error:
            raise UsageError(f"dataset: {place['uri']} cannot be read: {error.strerror or error}") from error
        except UsageError:
            raise
        except ValueError:  # a table row without bytes, or a damaged one: `ingest` reports it
            return ""

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(content, places))
