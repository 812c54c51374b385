import hashlib
import itertools
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.base.errors import StageFailed
from pipeline.store.files import Files
from pipeline.store.records import QuarantineRow, Shard, ShardResult
from pipeline.store.sealed import unseal
from pipeline.store.store import DamagedError, Store
from pipeline.upkeep.verify import verify
from schemas import SchemaError
from tests.pipeline.fakes import SPEC, numbers

BAD: QuarantineRow = {"image_id": "b", "uri": "/b", "stage": "s", "reason": "no image", "content_hash": None}


def result(rows: int = 3, bad: int = 0) -> ShardResult:
    quarantine: list[QuarantineRow] = [{**BAD, "image_id": f"b{n}"} for n in range(bad)]
    return ShardResult({"training": numbers(0, rows)}, {"model.bin": b"weights"}, quarantine)


def test_what_was_committed_comes_back(store):
    """Breaks when a table, a blob, a quarantined row or a count is lost on the way through the store."""
    done = store.commit("s", "r", "k", result(3, 1), rows_in=4, seconds=1.5)
    assert store.done("s", "r", ["k", "other"]) == {"k": done}
    assert store.table(done, "training").equals(numbers(0, 3))
    assert store.table(done, "quarantine").to_pylist() == [{**BAD, "image_id": "b0"}]
    assert store.blob(done, "model.bin") == b"weights"
    assert (done.ok, done.quarantined, done.seconds) == (3, 1, 1.5)


def test_only_the_columns_and_rows_asked_for(store):
    """Breaks when a filter or a column choice is ignored, or an absent quarantine is an error."""
    done = store.commit("s", "r", "k", result())
    chosen = store.table(done, "training", ["loss"], pa.compute.field("epoch") > 1)
    assert chosen.to_pylist() == [{"loss": 1.0}, {"loss": 2.0}]
    assert store.table(done, "training", ["loss"]).column_names == ["loss"]
    assert store.table(done, "quarantine", ["uri"]).column_names == ["uri"]
    assert store.table(done, "quarantine").num_rows == 0


@pytest.mark.parametrize(("rows", "bad", "rows_in"), [(3, 0, 4), (3, 2, 4), (0, 0, 1)])
def test_lost_or_invented_rows_are_refused(store, rows, bad, rows_in):
    """Breaks when a shard commits that swallowed an image or made one up."""
    with pytest.raises(StageFailed, match=f"{rows_in} rows in, {rows} out and {bad} quarantined"):
        store.commit("s", "r", "k", result(rows, bad), rows_in=rows_in)
    assert store.done("s", "r", ["k"]) == {}


def test_a_table_off_its_schema_is_refused(store):
    """Breaks when a worker can commit what no reader could read."""
    with pytest.raises(SchemaError, match="training"):
        store.commit("s", "r", "k", ShardResult({"training": numbers(0, 2).drop_columns(["loss"])}))
    assert store.done("s", "r", ["k"]) == {}


def test_a_table_without_the_schemas_metadata_can_be_read_again(store):
    """Breaks when a table from a library that drops metadata is committed without its schema version."""
    bare = numbers(0, 2).replace_schema_metadata(None)
    done = store.commit("s", "r", "k", ShardResult({"training": bare}))
    assert store.table(done, "training").equals(numbers(0, 2))


# An attempt at a shard, step by step. `Files` below stops before each write that a reader could see.
STEPS = ("part", "blob", "manifest")


class SteppedFiles(Files):
    """Hands control back before every write."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.switch = lambda: None

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        self.switch()
        super().put(path, data, durable=durable)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self.switch()
        return super().put_if_absent(path, data)


def interleaved(root: str, order: tuple[int, ...]) -> list:
    """Run two attempts of one shard, their writes in the order given (attempt number at each step)."""
    import threading

    turns = [threading.Semaphore(0), threading.Semaphore(0)]
    arrived = [threading.Semaphore(0), threading.Semaphore(0)]
    found: list = [None, None]

    def attempt(number: int) -> None:
        store = Store(root)
        files = SteppedFiles(root)
        store.files = files

        def switch() -> None:
            arrived[number].release()
            turns[number].acquire()

        files.switch = switch
        found[number] = store.commit("s", "r", "k", result(), rows_in=3)
        arrived[number].release()

    threads = [threading.Thread(target=attempt, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for number in (0, 1):
        arrived[number].acquire()
    for number in order:
        turns[number].release()
        arrived[number].acquire()
    for thread in threads:
        thread.join(10)
    return found


@pytest.mark.parametrize("order", sorted(set(itertools.permutations([0] * len(STEPS) + [1] * len(STEPS)))))
def test_two_attempts_in_every_order_have_one_winner(tmp_path, order):
    """Breaks when two attempts of a shard mix: other tables, two winners, or a manifest without its part."""
    first, second = interleaved(str(tmp_path), order)
    assert first == second, "both attempts report the winner"
    last_of = {number: len(order) - 1 - order[::-1].index(number) for number in (0, 1)}
    store = Store(str(tmp_path))
    assert store.done("s", "r", ["k"])["k"] == first
    assert store.table(first, "training").equals(numbers(0, 3))
    assert len(store.files.names("s/r/parts")) == 2, "the loser's part is garbage, not lost to the winner"
    winner = min(last_of, key=last_of.__getitem__)
    assert {0: first, 1: second}[winner].attempt == first.attempt
    store.commit_set("s", "r", [Shard("k")], {"k": first})
    assert verify(store, ["s"]).damage == []


@pytest.mark.parametrize("steps", range(len(STEPS)))
def test_an_attempt_that_died_leaves_no_shard_and_no_obstacle(tmp_path, steps):
    """Breaks when a kill before the manifest leaves a shard that looks done, or hinders the next attempt."""

    class Died(BaseException):
        pass

    store = Store(str(tmp_path))
    files = SteppedFiles(str(tmp_path))
    store.files = files
    left = iter(range(steps))

    def switch() -> None:
        if next(left, None) is None:
            raise Died

    files.switch = switch
    with pytest.raises(Died):
        store.commit("s", "r", "k", result())
    fresh = Store(str(tmp_path))
    assert fresh.done("s", "r", ["k"]) == {}
    done = fresh.commit("s", "r", "k", result())
    assert fresh.table(done, "training").equals(numbers(0, 3))


def committed_set(store, keys=("a", "b")):
    shards = [Shard(key, rows=2, labels={"train": {"cat": 2}}) for key in keys]
    done = {
        key: store.commit("s", "r", key, ShardResult({"training": numbers(10 * n, 2)})) for n, key in enumerate(keys)
    }
    return shards, done, store.commit_set("s", "r", shards, done)


def test_a_set_is_complete_when_it_is_declared(store):
    """Breaks when committed shards count as a complete stage before their set is committed."""
    shards, done, _ = committed_set(store, ())
    assert store.newest("none") is None
    shards, done, name = committed_set(store)
    assert store.newest("s") == ("r", name)
    complete = store.complete_set("s", "r", name)
    assert complete.dones == done
    assert store.complete_set("s", "r", "unknown") is None
    assert [(s.key, s.rows, s.labels) for s in complete.shards] == [(s.key, s.rows, s.labels) for s in shards]


def test_growth_makes_a_new_set_and_leaves_the_old_one(store):
    """Breaks when adding images edits a set that another run reads."""
    _, before, old = committed_set(store)
    _, after, new = committed_set(store, ("a", "b", "c"))
    assert old != new
    assert store.complete_set("s", "r", old).dones == before
    assert after["a"] == before["a"], "a shard that is done is not committed again"
    assert store.newest("s") == ("r", new)


def test_a_set_does_not_depend_on_the_order_of_its_shards(store):
    """Breaks when planning in another order computes a finished stage again."""
    _, done, name = committed_set(store)
    assert store.commit_set("s", "r", [Shard("b"), Shard("a")], done) == name


def test_forgotten_shards_are_to_be_computed_again(store):
    """Breaks when --force finds the old results."""
    committed_set(store)
    store.forget("s", "r", ["a", "b"])
    assert store.done("s", "r", ["a", "b"]) == {}


def test_a_newer_schema_version_is_refused(store):
    """Breaks when a part that a newer program wrote is read as if nothing had changed."""
    done = store.commit("s", "r", "k", result())
    newer = numbers(0, 3).replace_schema_metadata({b"weakbox.table": b"training", b"weakbox.schema_version": b"99"})
    buffer = pa.BufferOutputStream()
    pq.write_table(newer, buffer)
    data = buffer.getvalue().to_pybytes()
    store.files.put(done.tables["training"].file, data)
    entry = replace(done.tables["training"], sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(SchemaError, match="version 99"):
        store.table(replace(done, tables={"training": entry}), "training")


def test_missing_and_damaged_files_are_named(store):
    """Breaks when a part that is gone gives a bare FileNotFoundError, or a flipped bit in a model goes unseen."""
    done = store.commit("s", "r", "k", result())
    store.files.put(done.blobs["model.bin"].file, b"wEights")
    with pytest.raises(DamagedError, match="differs from its manifest"):
        store.blob(done, "model.bin")
    store.files.remove(done.blobs["model.bin"].file)
    store.files.remove(done.tables["training"].file)
    with pytest.raises(DamagedError, match="model.bin is missing; `weakbox verify --repair`"):
        store.blob(done, "model.bin")
    with pytest.raises(DamagedError, match="training.parquet is missing; `weakbox verify --repair`"):
        store.table(done, "training")


def test_a_commit_names_no_part_that_is_gone(store, monkeypatch):
    """Breaks when a manifest is written though a collector of garbage took a part that no manifest named yet."""
    put = store.files.put

    def put_and_lose(path, data):
        put(path, data)
        if path.endswith("model.bin"):
            for file in store.files.listing("s/r/parts"):
                store.files.remove(file.path)

    monkeypatch.setattr(store.files, "put", put_and_lose)
    with pytest.raises(DamagedError, match="training.parquet is missing"):
        store.commit("s", "r", "k", result())
    assert store.done("s", "r", ["k"]) == {}


def test_a_commit_that_lost_finds_its_winner_whole(store):
    """Breaks when a run goes on with another attempt's result whose parts are gone."""
    winner = store.commit("s", "r", "k", result())
    store.files.remove(winner.tables["training"].file)
    with pytest.raises(DamagedError, match="training.parquet is missing"):
        store.commit("s", "r", "k", result())


@pytest.mark.parametrize(
    "read", [lambda store, done: store.blob(done, "x"), lambda store, done: store.table(done, "images")]
)
def test_what_a_manifest_does_not_name_is_damage(store, read):
    """Breaks when a manifest without a table passes for an empty one, or a model that is not there for a KeyError."""
    done = store.commit("s", "r", "k", result())
    with pytest.raises(DamagedError, match="s/r/done/k.json names no "):
        read(store, done)
    assert store.table(done, "quarantine").num_rows == 0


def test_the_manifest_says_what_it_names(store):
    """Breaks when file, rows, bytes, checksum or schema version of a part is no longer in the manifest."""
    done = store.commit("s", "r", "k", result())
    on_disk: Any = unseal(store.files.get("s/r/done/k.json"))
    entry = on_disk["tables"]["training"]
    assert set(entry) == {"file", "bytes", "sha256", "rows", "schema"}
    assert (entry["rows"], entry["schema"]) == (3, SPEC.version)
    assert entry["bytes"] == store.files.size(entry["file"])
    assert entry["file"] == f"s/r/parts/k-{done.attempt}.training.parquet"
