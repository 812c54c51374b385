"""Rows of table `duplicates` and what becomes of images, against plain Python."""

from collections import defaultdict
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import TABLES, validate
from stages.bases.duplicate_groups import kinds_of_groups, said_of_groups
from stages.duplicates.equal import is_one_of, prefixes, repeated
from stages.duplicates.groups import duplicate_rows
from stages.duplicates.policy import HELD_OUT_FIRST

SCHEMA = pa.schema([(name, pa.string()) for name in ("image_id", "split", "label_name", "content_hash")])
SCHEMA = SCHEMA.append(pa.field("alike", pa.int64()))

PICTURES = st.lists(
    st.tuples(st.sampled_from(HELD_OUT_FIRST), st.sampled_from("xyz"), st.integers(0, 5)), max_size=14
).map(lambda found: [(f"{len(found) - n:02d}.jpg", *each) for n, each in enumerate(found)])
"""Image id, split, class, content; ids run against the order of rows."""

ALIKE = st.lists(st.one_of(st.none(), st.integers(0, 2)), min_size=6, max_size=6)
"""What each content looks like."""


def table(pictures, alike):
    rows = [
        {"image_id": name, "split": split, "label_name": label, "content_hash": f"{content:064x}",
         "alike": alike[content]}
        for name, split, label, content in pictures
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def units(pictures, alike):
    """The images that share a fate: of one look, or of one content where it looks like nothing else."""
    found: dict[Any, list[Any]] = defaultdict(list)
    for picture in pictures:
        content = picture[3]
        found[("content", content) if alike[content] is None else ("look", alike[content])].append(picture)
    return [group for group in found.values() if len(group) > 1]


def outcome(rows):
    """Image id -> the split that it is used in; that both kinds of groups say the same is checked."""
    found: dict[str, Any] = {}
    for row in rows:
        assert found.setdefault(row["image_id"], row["used_as"]) == row["used_as"]
    return found


@given(PICTURES, ALIKE)
def test_groups_are_those_of_plain_python(pictures, alike):
    """Breaks when an image is missing from its group, a group of one is kept, or near groups are exact ones again."""
    rows = duplicate_rows(table(pictures, alike), "keep").to_pylist()
    groups = defaultdict(set)
    for row in rows:
        groups[row["kind"], row["group"]].add(row["image_id"])
        assert row["used_as"] == row["split"]
    wanted = defaultdict(set)
    for name, _, _, content in pictures:
        wanted["exact", content].add(name)
        if alike[content] is not None:
            wanted["near", alike[content]].add(name)
    contents = {name: content for name, _, _, content in pictures}
    sets = {
        (kind, min(ids)): ids
        for (kind, _), ids in wanted.items()
        if len(ids) > 1 and (kind == "exact" or len({contents[name] for name in ids}) > 1)
    }
    assert groups == sets


@given(PICTURES, ALIKE)
def test_one_split_leaves_no_group_in_two_and_changes_nothing_else(pictures, alike):
    """Breaks when what is trained on is scored, a split is invented, or scored images go to training."""
    rows = duplicate_rows(table(pictures, alike), "one_split").to_pylist()
    used = outcome(rows)
    for group in units(pictures, alike):
        splits = {split for _, split, _, _ in group}
        best = next(split for split in HELD_OUT_FIRST if split in splits)
        assert {used[name] for name, *_ in group} == {best}
    assert used.keys() == {name for group in units(pictures, alike) for name, *_ in group}


@given(PICTURES, ALIKE)
def test_drop_keeps_one_image_of_a_group_and_none_of_several_classes(pictures, alike):
    """Breaks when a picture is used twice, a contradiction is used at all, or all images of a group are lost."""
    used = outcome(duplicate_rows(table(pictures, alike), "drop").to_pylist())
    for group in units(pictures, alike):
        kept = [(name, used[name]) for name, *_ in sorted(group) if used[name] is not None]
        if len({label for _, _, label, _ in group}) > 1:
            assert kept == []
            continue
        splits = {split for _, split, _, _ in group}
        best = next(split for split in HELD_OUT_FIRST if split in splits)
        assert kept == [(min(name for name, split, _, _ in group if split == best), best)]


@pytest.mark.parametrize("policy", ["keep", "one_split", "drop"])
def test_the_order_of_rows_and_their_number_are_no_matter(policy):
    """Breaks when rows come in the order of shards, or a data set without a repetition is an error."""
    rows = [("c", "train", "x", 1), ("a", "test", "x", 1), ("b", "train", "y", 2), ("d", "train", "y", 2)]
    one = duplicate_rows(table(rows, [None] * 6), policy)
    assert one.equals(duplicate_rows(table(rows[::-1], [None] * 6), policy))
    spec = TABLES["duplicates"]
    validate(one.select(spec.schema.names).cast(spec.schema), spec)
    for none in ([], rows[1:3]):
        assert duplicate_rows(table(none, [None] * 6), policy).num_rows == 0


def test_images_with_the_same_bits_in_front_are_compared_whole():
    """Breaks when 64 bits of a hash are taken for all of it."""
    rows = table([("a", "train", "x", 1), ("b", "train", "x", 2)], [None] * 6).to_pylist()
    hashes = ["0" * 16 + "a" * 48, "0" * 16 + "b" * 48]
    assert len(repeated(prefixes(hashes))) == 1
    same_front = [{**row, "content_hash": found} for row, found in zip(rows, hashes, strict=True)]
    assert duplicate_rows(pa.Table.from_pylist(same_front, schema=SCHEMA), "drop").num_rows == 0


def test_prefixes_find_what_is_there_again():
    """Breaks when the first or last value of a list is never found, or none are an error."""
    values = prefixes(["f" * 64, "0" * 64, "8" * 64, "f" * 64])
    assert repeated(values).tolist() == [2**64 - 1]
    assert is_one_of(values, repeated(values)).tolist() == [True, False, False, True]
    assert is_one_of(values, repeated(values[:1])).tolist() == [False] * 4


def test_what_is_said_counts_groups_and_names_some():
    """Breaks when a group is counted twice, or what is odd about it is not said, or not where its images are."""
    rows = [
        ("a.jpg", "train", "x", 1), ("b.jpg", "test", "x", 1), ("c.jpg", "train", "x", 2), ("d.jpg", "train", "y", 2),
        ("e.jpg", "train", "x", 3), ("f.jpg", "train", "x", 3), ("g.jpg", "dev", "x", 3),
    ]  # fmt: skip
    groups = duplicate_rows(table(rows, [None] * 6), "drop")
    assert list(said_of_groups(groups, "drop")) == [
        "3 groups of equal pictures (7 images): 2 across splits (a.jpg in train, b.jpg in test; e.jpg in train, g.jpg"
        " in dev, f.jpg in train), 1 under several classes (c.jpg in x, d.jpg in y)",
        "drop: 5 images left out",
    ]
    near = duplicate_rows(table(rows[:4], [None, 0, 0, 0, 0, 0]), "one_split")
    (exact, alike) = kinds_of_groups(near, 1)
    assert (exact.groups, alike.groups, alike.images, alike.across_splits, alike.under_classes) == (2, 1, 4, 1, 1)
    assert list(said_of_groups(near, "one_split"))[-1] == "one_split: 3 images used in another split"
    assert list(said_of_groups(groups.slice(0, 0), "keep")) == ["no two pictures are equal"]
    assert list(said_of_groups(groups.slice(0, 0), "drop"))[-1] == "drop: nothing changes"
