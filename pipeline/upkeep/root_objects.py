"""Re-checks of the objects beside the stages of a run root."""

import hashlib
from collections.abc import Callable, Collection, Mapping

from pipeline.base.json_types import Json
from pipeline.store import layout
from pipeline.store.encoding import read_layout
from pipeline.store.paths import UnsafePathError
from pipeline.store.run_records import read_record
from pipeline.store.store import DamagedError, Store
from pipeline.upkeep.damage import Damage, Verified

Reader = Callable[[Mapping[str, Json]], object]
"""Takes the content of an object; raises ValueError where it is not what is expected there."""
Readers = Mapping[str, Reader]

_OWN: Readers = {layout.MARKER: read_layout, **dict.fromkeys((layout.CONFIG, layout.TIMELINE, layout.LABEL), dict)}


def verify_root(store: Store, readers: Readers, pages: Collection[str], result: Verified) -> None:
    """Check the objects beside the stages. pages: checksums of the reports that are committed."""
    for path, read in {**_OWN, **readers}.items():
        try_to_read(store, "", path, read, result)
    _verify_records(store, result)
    found = _sha256(store, layout.REPORT, result)
    if found is not None and pages and found not in pages:
        result.damage.append(Damage("", layout.REPORT, "is no copy of a committed report"))
    for path in _uploads(store, result):
        found, named = _sha256(store, path, result), layout.upload_sha256(f"/{path}")
        if named is not None and found not in (None, named):
            result.damage.append(Damage("", path, "differs from its name"))


def _verify_records(store: Store, result: Verified) -> None:
    try:
        records = store.read_each(layout.RUNS, read_record)
    except DamagedError as error:
        result.add("", error)
        return
    for record in records.values():
        if isinstance(record, DamagedError):
            result.add("", record)


def try_to_read(store: Store, stage: str, path: str, read: Reader, result: Verified) -> None:
    """Note a JSON object that is damaged, or whose content is not what is expected there."""
    try:
        store.read(path, read)
    except DamagedError as error:
        result.add(stage, error)


def _uploads(store: Store, result: Verified) -> list[str]:
    try:
        return [f"{layout.UPLOADS}/{name}" for name in store.files.names(layout.UPLOADS)]
    except UnsafePathError as error:
        result.damage.append(Damage("", layout.UPLOADS, f"cannot be read ({error})"))
        return []


def _sha256(store: Store, path: str, result: Verified) -> str | None:
    """The checksum of a file; None where there is none."""
    try:
        return hashlib.sha256(store.files.get(path)).hexdigest()
    except FileNotFoundError:
        return None
    except UnsafePathError as error:
        result.damage.append(Damage("", path, f"cannot be read ({error})"))
        return None
