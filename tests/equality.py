"""Whether two runs made the same results: every row of every table, every column, every blob, bit for bit."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from pipeline.store.records import Done
from pipeline.store.store import Store
from schemas import TABLES


def assert_runs_equal(store_a: Store, store_b: Store, stages: Iterable[str]) -> None:
    """Compare the newest complete set of every stage: same shards, same rows in any order, same blobs.

    Attempt names and times may differ; they stand in manifests only. Raises AssertionError naming stage and table.
    """
    for stage in stages:
        one, two = newest_set(store_a, stage), newest_set(store_b, stage)
        assert sorted(one) == sorted(two), f"{stage}: other shards"
        for name in sorted({name for done in one.values() for name in done.tables}):
            _assert_tables_equal(_table(store_a, one, name), _table(store_b, two, name), f"{stage}: table {name}")
        for key, done in one.items():
            _assert_blobs_equal(store_a, done, store_b, two[key])


def newest_set(store: Store, stage: str) -> dict[str, Done]:
    """The manifests of a stage's newest complete set: key -> Done."""
    newest = store.newest(stage)
    assert newest is not None, f"{stage}: never completed in {store.files.root}"
    complete = store.complete_set(stage, *newest)
    assert complete is not None, f"{stage}: its newest set is missing in {store.files.root}"
    return complete.dones


def _table(store: Store, dones: dict[str, Done], name: str) -> pa.Table:
    return pa.concat_tables([store.table(dones[key], name) for key in sorted(dones)])


def _assert_tables_equal(one: pa.Table, two: pa.Table, where: str) -> None:
    assert one.schema.equals(two.schema, check_metadata=True), f"{where}: other columns"
    assert one.num_rows == two.num_rows, f"{where}: {one.num_rows} rows, {two.num_rows} rows"
    rows_a, rows_b = _ordered(one, where), _ordered(two, where)
    for column in one.column_names:
        values_a, values_b = rows_a.column(column), rows_b.column(column)
        assert _bits(values_a) == _bits(values_b), f"{where}: column {column} differs"


def _ordered(table: pa.Table, where: str) -> pa.Table:
    """Rows by key; by all columns where there is none, so that duplicates count."""
    key = TABLES[where.rsplit(" ", 1)[-1]].key
    if key:
        return table.sort_by([(name, "ascending") for name in key])
    order = sorted(range(table.num_rows), key=[repr(row) for row in table.to_pylist()].__getitem__)
    return table.take(order)


def _bits(column: pa.ChunkedArray) -> bytes:
    """The column's values as bytes, whatever its chunks and buffers; NaN equals itself."""
    sink = pa.BufferOutputStream()
    fresh = pa.concat_arrays([*column.chunks, pa.nulls(0, column.type)]).take(pa.array(range(len(column)), pa.int64()))
    batch = pa.record_batch([fresh], names=["values"])
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _assert_blobs_equal(store_a: Store, one: Done, store_b: Store, two: Done) -> None:
    assert sorted(one.blobs) == sorted(two.blobs), f"{one.stage}: other blobs"
    for name in one.blobs:
        assert store_a.blob(one, name) == store_b.blob(two, name), f"{one.stage}: blob {name} differs"


def attempts(store: Store, stages: Iterable[str]) -> dict[tuple[str, str, str], str]:
    """Which attempt each committed shard belongs to, complete set or not: (stage, recipe, key) -> attempt name."""
    found: dict[tuple[str, str, str], str] = {}
    for stage in stages:
        for recipe in (name for name in store.files.names(stage) if "." not in name):
            for name in store.files.names(f"{stage}/{recipe}/done"):
                done: Any = store.done(stage, recipe, [name.removesuffix(".json")])
                found.update({(stage, recipe, key): entry.attempt for key, entry in done.items()})
    return found
