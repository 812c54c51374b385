"""Re-checking what is committed: every file of every stage's newest complete set against its manifest."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.stage import Done
from pipeline.store import Store
from schemas import TABLES, check_version, validate


@dataclass
class Verified:
    """What was looked at, and one line for each damage."""

    stages: int = 0
    files: int = 0
    rows: int = 0
    damage: list[str] = field(default_factory=list)


def verify(store: Store, stages: Sequence[str]) -> Verified:
    """Check presence, bytes, checksums, rows and schema of all files, and that keys are unique in a whole stage."""
    result = Verified()
    for stage in stages:
        newest = store.newest(stage)
        complete = store.complete_set(stage, *newest) if newest else None
        if newest is None:
            continue
        if complete is None:
            result.damage.append(f"{stage}: set {newest[1]} is missing")
            continue
        result.stages += 1
        _verify_stage(store, stage, complete, result)
    return result


def _verify_stage(store: Store, stage: str, complete: dict[str, Done], result: Verified) -> None:
    keys: dict[str, list[pa.Table]] = {}
    for done in complete.values():
        for name, entry in done.blobs.items():
            result.files += 1
            _bytes(store, f"{stage}: blob {name}", entry, result)
        for name, entry in done.tables.items():
            result.files += 1
            data = _bytes(store, f"{stage}: part {entry['file']}", entry, result)
            table = _table(name, data, entry["rows"], f"{stage}: part {entry['file']}", result) if data else None
            if table is not None:
                result.rows += table.num_rows
                keys.setdefault(name, []).append(table.select(list(TABLES[name].key)))
        if "quarantine" not in done.tables and done.quarantined:
            result.damage.append(f"{stage}: shard {done.key}: {done.quarantined} quarantined rows are missing")
    for name, parts in keys.items():
        key = list(TABLES[name].key)
        if not key:
            continue
        joined = pa.concat_tables(parts)
        if joined.group_by(key).aggregate([]).num_rows != joined.num_rows:
            result.damage.append(f"{stage}: table {name}: {'+'.join(key)} is not unique over the stage's shards")


def _bytes(store: Store, where: str, entry: object, result: Verified) -> bytes | None:
    assert isinstance(entry, dict)
    try:
        data = store.files.get(entry["file"])
    except FileNotFoundError:
        result.damage.append(f"{where} is missing")
        return None
    if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:
        result.damage.append(f"{where} differs from its manifest")
        return None
    return data


def _table(name: str, data: bytes, rows: int, where: str, result: Verified) -> pa.Table | None:
    try:
        table = pq.read_table(io.BytesIO(data))
        check_version(table.schema, TABLES[name])
        validate(table.cast(TABLES[name].schema), TABLES[name])
    except ValueError as error:
        result.damage.append(f"{where}: {error}")
        return None
    if table.num_rows != rows:
        result.damage.append(f"{where}: {table.num_rows} rows, its manifest says {rows}")
    return table
