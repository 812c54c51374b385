import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.hashing import set_id
from pipeline.store import encoding
from pipeline.store.records import Done, Recipe, Shard, ShardRef, StoredFile

FILE = StoredFile("s/r/parts/k-a.images.parquet", 9, "0" * 64, rows=3, schema=1)
DONE = Done(
    "s", "r", "k", "a", {"images": FILE}, {"x/m.bin": StoredFile("s/r/blobs/k-a/x/m.bin", 2, "1" * 64)}, 3, 0, 1.5
)
FOUND = replace(DONE, labels={"train": {"cat": 2}, "test": {}})
SHARD = Shard("k", {"images": (ShardRef("up", "q", "j"),)}, {"list": "k"}, 3, labels={"train": {"cat": 3}})
SET = f"s/r/sets/{set_id(['k'])}.json"
ROWS = "s/r/rows/00000003-k.json"

READERS: dict[str, tuple[Any, Any]] = {
    "manifest": (lambda said: encoding.read_manifest("s/r/done/k.json", said), encoding.write_manifest(DONE)),
    "found": (lambda said: encoding.read_manifest("s/r/done/k.json", said), encoding.write_manifest(FOUND)),
    "set": (lambda said: encoding.read_set(SET, said), encoding.write_set([SHARD], {"k": DONE})),
    "listing": (encoding.read_listing, encoding.write_listing([SHARD], "/data")),
    "newest": (encoding.read_newest, {"recipe": "r", "set": "x"}),
    "recipe": (encoding.read_recipe, Recipe("s", 1, {}, {"images": [("up", "q")]}).ingredients()),
    "rows": (lambda said: encoding.read_rows(ROWS, said), encoding.write_rows("k", ["f" * 16, "0" * 16])),
    "progress": (encoding.read_progress, encoding.write_progress({"epoch": 1, "epochs": 2, "loss": 0.5})),
    "layout": (encoding.read_layout, {"layout": 3}),
}
NAMES = [
    *[("manifest", [name]) for name in ("stage", "recipe", "key", "attempt")],
    *[("set", ["shards", 0, "done", name]) for name in ("stage", "recipe", "key", "attempt")],
    *[("set", ["shards", 0, "inputs", "images", 0, place]) for place in range(3)],
    *[("newest", [name]) for name in ("recipe", "set")],
    *[("recipe", ["inputs", "images", 0, place]) for place in range(2)],
    ("listing", ["shards", 0, "key"]),
    ("rows", ["key"]),
]


def changed(name, path, value):
    """What an object says, with another value at a path."""
    said = copy.deepcopy(READERS[name][1])
    *way, last = path
    inner = said
    for key in way:
        inner = inner[key]
    inner[last] = value
    return said


@pytest.mark.parametrize("name", READERS)
def test_each_object_is_read_as_it_was_written(name):
    """Breaks when the checks of a reader refuse what its writer writes."""
    read, said = READERS[name]
    assert read(said) is not None
    assert encoding.read_manifest("s/r/done/k.json", READERS["manifest"][1]) == DONE
    assert encoding.read_manifest("s/r/done/k.json", READERS["found"][1]) == FOUND
    assert encoding.read_set(SET, READERS["set"][1]).shards == [SHARD]


@pytest.mark.parametrize("bad", ["", ".", "..", "../x", "/x", "x/y", "x\0", "x\n", "a" * 256, "\ud800"])
@pytest.mark.parametrize(("name", "path"), NAMES)
def test_every_name_is_checked_where_it_is_read(name, path, bad):
    """Breaks when a name of stored data becomes part of a path before anybody looked at it."""
    with pytest.raises(ValueError):
        READERS[name][0](changed(name, path, bad))


@pytest.mark.parametrize("blob", ["", "/x", "../x", "x/../../y", "x//y", "x\n"])
def test_the_names_of_blobs_lead_down(blob):
    """Breaks when an export may write beside its folder: also where the stored path fits the name."""
    entry = {"file": f"s/r/blobs/k-a/{blob}", "bytes": 2, "sha256": "1" * 64}
    with pytest.raises(ValueError):
        READERS["manifest"][0]({**READERS["manifest"][1], "blobs": {blob: entry}})


@pytest.mark.parametrize("path", [["ok"], ["quarantined"], ["tables", "images", "rows"], ["labels", "train", "cat"]])
def test_counts_are_not_negative(path):
    """Breaks when -1 images pass for a number of images."""
    with pytest.raises(ValueError, match="is negative"):
        READERS["found"][0](changed("found", path, -1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(READERS)), JSON, st.randoms())
def test_whatever_stands_somewhere_the_only_error_is_one_of_value(name, value, random):
    """Breaks when a value of another type, anywhere in an object, ends a command with a TypeError or KeyError."""
    read, said = READERS[name]
    path: list[Any] = []
    inner: Any = said
    while isinstance(inner, (dict, list)) and inner:
        key = random.choice(list(inner)) if isinstance(inner, dict) else random.randrange(len(inner))
        path.append(key)
        inner = inner[key]
        if random.random() < 0.3:
            break
    try:
        read(changed(name, path, value))
    except ValueError:
        return


@pytest.mark.parametrize("wrong", ["f" * 15, "f" * 15 + "\u2028", "f" * 15 + " ", "F" * 16, ""])
def test_fingerprints_are_hexadecimal(wrong):
    """Breaks when verify passes a list of rows that a run then refuses."""
    with pytest.raises(ValueError, match="a fingerprint has 16 digits, hexadecimal"):
        encoding.read_rows(ROWS, encoding.write_rows("k", ["0" * 16, wrong]))
