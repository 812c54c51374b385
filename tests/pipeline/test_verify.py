import hashlib
import json

import pytest

from pipeline.stage import Shard, ShardResult
from pipeline.verify import verify
from tests.pipeline.fakes import numbers


@pytest.fixture
def done(store):
    """One stage of two shards, complete."""
    found = {
        key: store.commit("s", "r", key, ShardResult({"training": numbers(start, 2)}, {"note": b"hello"}))
        for key, start in (("a", 0), ("b", 2))
    }
    store.commit_set("s", "r", [Shard("a"), Shard("b")], found)
    return found


def test_a_sound_store_is_clean(store, done):
    """Breaks when verify sees damage that is not there, or looks at less than everything."""
    found = verify(store, ["s", "never_run"])
    assert (found.stages, found.files, found.rows, found.damage) == (1, 4, 4, [])


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "blob"])
def test_damage_is_found_and_named(store, done, damage):
    """Breaks when a flipped bit, a cut or missing part, or a changed blob passes verify."""
    file = done["a"].blobs["note"]["file"] if damage == "blob" else done["a"].tables["training"]["file"]
    data = store.files.get(file)
    if damage == "missing":
        store.files.remove(file)
    else:
        store.files.put(file, data[:-7] if damage == "cut" else bytes([data[0] ^ 1]) + data[1:])
    (line,) = verify(store, ["s"]).damage
    assert line.startswith("s: ")
    assert ("note" if damage == "blob" else file) in line


def test_a_set_that_is_gone_is_damage(store, done):
    """Breaks when the newest complete set can vanish unseen."""
    recipe, name = store.newest("s")
    store.files.remove(f"s/{recipe}/sets/{name}.json")
    assert len(verify(store, ["s"]).damage) == 1


def test_an_id_in_two_shards_is_damage(store):
    """Breaks when one image can be in two shards: every table's key is unique over the whole stage."""
    found = {key: store.commit("s", "r", key, ShardResult({"training": numbers(0, 2)})) for key in ("a", "b")}
    store.commit_set("s", "r", [Shard("a"), Shard("b")], found)
    (line,) = verify(store, ["s"]).damage
    assert "epoch is not unique" in line


def test_a_part_of_another_table_is_damage_not_a_crash(store, done):
    """Breaks when a file that fits its checksum but not its schema stops verify instead of being reported."""
    entry = done["a"].tables["training"]
    recipe, name = store.newest("s")
    other = store.commit(
        "t", "r", "k", ShardResult({}, quarantine=[dict.fromkeys(("image_id", "uri", "stage", "reason"), "x")])
    )
    data = store.files.get(other.tables["quarantine"]["file"])
    store.files.put(entry["file"], data)
    sets = json.loads(store.files.get(f"s/{recipe}/sets/{name}.json"))
    sets["shards"][0]["done"]["tables"]["training"].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    store.files.put(f"s/{recipe}/sets/{name}.json", json.dumps(sets).encode())
    (line,) = verify(store, ["s"]).damage
    assert "quarantine" in line
