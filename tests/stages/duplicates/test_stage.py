"""Equal pictures through runs: what is reported, what the policies change, and what runs again."""

import io
import logging
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from pipeline.base.errors import UsageError
from pipeline.planning.plan import make_plan, resolve
from pipeline.store.encoding import read_set, write_set
from stages.duplicates.policy import HELD_OUT_FIRST
from tests import runs

STAGES = {
    "classify": {"epochs": 0, "backbone": "smallnet", "refit": "never"},
    "cam": {},
}


def picture(seed, form="JPEG", side=48):
    """Blurred noise, which is nothing like that of another seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(buffer, form)
    return buffer.getvalue()


def write(data, path, content):
    (data / path).parent.mkdir(parents=True, exist_ok=True)
    (data / path).write_bytes(content)


def make(data):
    """Six pictures of each of two classes, two in test; among them one of train in test, and one under both classes."""
    for number, name in enumerate(("cat", "dog")):
        for i in range(6):
            write(data, f"{'test' if i > 3 else 'train'}/{name}/{i}.jpg", picture(10 * number + i))
    shutil.copy(data / "test/cat/4.jpg", data / "train/cat/leak.jpg")
    shutil.copy(data / "train/dog/1.jpg", data / "train/cat/contradiction.jpg")
    boxes = [f"{split}/{name}/{i}.jpg,1,2,30,31" for split, i in (("train", 1), ("test", 4)) for name in ("cat", "dog")]
    (data / "boxes.csv").write_text("\n".join(["image_id,x0,y0,x1,y1", *boxes, "train/cat/leak.jpg,1,2,30,31"]) + "\n")


@pytest.fixture
def configured(tmp_path):
    """A run of the data set with other options, four images a shard."""
    make(tmp_path / "data")

    def target(stages=STAGES, **options):
        dataset = {"reader": "folder", "root": str(tmp_path / "data"), "dev_fraction": 0, "shard_size": 4, **options}
        return runs.target_of({"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": stages})

    return target


def splits(target, stage):
    return {row["image_id"]: row["split"] for row in runs.rows(target, stage, "images")}


def test_equal_pictures_are_reported_and_kept(configured, caplog):
    """Breaks when equal pictures in different shards, splits or classes go unnoticed, or noticing changes results."""
    target = configured(stages={})
    with caplog.at_level(logging.INFO, "weakbox.ingest"):
        assert runs.execute(target) == {"ingest": 4, "truth": 3, "duplicates": 1}
    assert list(target.stages) == ["ingest", "truth", "duplicates"]
    rows = runs.rows(target, "duplicates", "duplicates")
    assert [(row["group"], row["image_id"], row["split"], row["label_name"]) for row in rows] == [
        ("test/cat/4.jpg", "test/cat/4.jpg", "test", "cat"),
        ("test/cat/4.jpg", "train/cat/leak.jpg", "train", "cat"),
        ("train/cat/contradiction.jpg", "train/cat/contradiction.jpg", "train", "cat"),
        ("train/cat/contradiction.jpg", "train/dog/1.jpg", "train", "dog"),
    ]
    assert {(row["kind"], row["used_as"] == row["split"]) for row in rows} == {("exact", True)}
    (said,) = [record.message for record in caplog.records if "equal" in record.message]
    assert said == (
        "ingest: 2 groups of equal pictures (4 images): 1 across splits (test/cat/4.jpg in test, train/cat/leak.jpg in"
        " train), 1 under several classes (train/cat/contradiction.jpg in cat, train/dog/1.jpg in dog)"
    )
    caplog.clear()
    with caplog.at_level(logging.INFO, "weakbox.ingest"):
        assert runs.execute(target) == {}
    assert said in caplog.messages, "a run that computes nothing says it, too"


def test_one_split_moves_images_and_nothing_else(configured):
    """Breaks when what test holds is trained on, or other images change."""
    target = configured(duplicates="one_split")
    runs.execute(target)
    listed, used = splits(target, "ingest"), splits(target, "deduplicate")
    assert {name for name in listed if listed[name] != used[name]} == {"train/cat/leak.jpg"}
    by_hash: dict[str, set[str]] = {}
    for row in runs.rows(target, "deduplicate", "images"):
        by_hash.setdefault(row["content_hash"], set()).add(row["split"])
    assert all(len(found) == 1 for found in by_hash.values())
    assert {row["image_id"]: row["split"] for row in runs.rows(target, "cam", "score_maps")} == used


def test_moved_images_are_counted_with_their_ground_truth(configured):
    """Breaks when a shard whose images were all of train is not counted, or the truth of its images is not found."""
    runs.execute(configured(duplicates="one_split"))
    target = configured({**STAGES, "sweep_cam": {"stage": "sweep", "maps": "cam"}}, duplicates="one_split")
    planned = make_plan(target.stages, target.store)
    counted, images = set(), {row["image_id"]: row["split"] for row in runs.rows(target, "deduplicate", "images")}
    for shard in planned["sweep_cam"].shards:
        task = resolve(shard, {name: stage.done for name, stage in planned.items()})
        known = {
            row["image_id"] for done in task.inputs["truth"] for row in target.store.table(done, "truth").to_pylist()
        }
        of_test = {
            row["image_id"]
            for done in task.inputs["images"]
            for row in target.store.table(done, "images").to_pylist()
            if row["split"] == "test"
        }
        assert shard.labels.keys() == {"test"}
        counted |= known & of_test
    assert counted == {"test/cat/4.jpg", "test/dog/4.jpg", "train/cat/leak.jpg"}
    assert images["train/cat/leak.jpg"] == "test"


def test_drop_leaves_one_of_a_group_and_none_of_a_contradiction(configured):
    """Breaks when a repeated picture counts twice, or an image vanishes from tables that say it is there."""
    target = configured(duplicates="drop")
    runs.execute(target)
    listed, used = splits(target, "ingest"), splits(target, "deduplicate")
    gone = {"train/cat/leak.jpg", "train/cat/contradiction.jpg", "train/dog/1.jpg"}
    assert listed.keys() - used.keys() == gone
    assert used == {name: split for name, split in listed.items() if name not in gone}
    said = {row["image_id"]: row["used_as"] for row in runs.rows(target, "duplicates", "duplicates")}
    assert {name for name, split in said.items() if split is None} == gone
    assert {row["image_id"] for row in runs.rows(target, "cam", "score_maps")} == used.keys()


def test_shards_say_how_many_images_they_hold_of_each_split(configured):
    """Breaks when stages that plan by split or class plan by the listing: moved images would be in no shard."""
    target = configured(duplicates="one_split", stages={})
    runs.execute(target)
    complete = target.store.newest_set("deduplicate")
    for done, shard in complete.entries:
        rows = target.store.table(done, "images").to_pylist()
        counts: dict[str, dict[str, int]] = {}
        for row in rows:
            of_split = counts.setdefault(row["split"], {})
            of_split[row["label_name"]] = of_split.get(row["label_name"], 0) + 1
        assert shard.labels == counts == done.labels
    path = f"deduplicate/{complete.recipe}/sets/{complete.name}.json"
    again = read_set(path, write_set(complete.shards, complete.dones))
    assert again.shards == complete.shards
    assert again.dones == complete.dones


@pytest.mark.parametrize("policy", ["one_split", "drop"])
def test_a_new_repetition_runs_only_what_it_changes(configured, tmp_path, policy):
    """Breaks when one more picture runs whole data sets again: equal to another it may change that one's shard."""
    stages = STAGES
    runs.execute(configured(stages, duplicates=policy))
    assert runs.execute(configured(stages, duplicates=policy)) == {}

    write(tmp_path / "data", "train/dog/new.jpg", picture(99))
    assert runs.execute(configured(stages, duplicates=policy)) == {
        "ingest": 1, "duplicates": 1, "deduplicate": 1, "cam": 1,
    }  # fmt: skip
    shutil.copy(tmp_path / "data/train/dog/0.jpg", tmp_path / "data/test/dog/again.jpg")
    computed = runs.execute(configured(stages, duplicates=policy))
    assert computed == {"ingest": 1, "duplicates": 1, "deduplicate": 6, "cam": 2}, "the new one, and that of its equal"
    used = splits(configured(stages, duplicates=policy), "deduplicate")
    assert used["test/dog/again.jpg"] == "test"
    assert used.get("train/dog/0.jpg") == ("test" if policy == "one_split" else None)


def test_reporting_recomputes_nothing_and_a_policy_opens_no_image_again(configured):
    """Breaks when switching a policy on or off, or looking for near pictures, opens all images or trains again."""
    runs.execute(configured())
    near = runs.execute(configured(near_duplicates=True))
    assert near == {"perceptual_hash": 4, "duplicates": 1}
    changed = runs.execute(configured(duplicates="one_split"))
    assert not changed.keys() & {"ingest", "truth"}
    assert runs.execute(configured()) == {}, "back again"


def test_near_pictures_are_found_and_treated_as_equal(configured, tmp_path):
    """Breaks when a picture that was saved again, in another form or size, is not known, or others are taken for it."""
    data = tmp_path / "data"
    write(data, "train/dog/smaller.jpg", picture(14, side=36))
    write(data, "train/dog/saved.png", picture(14, "PNG"))
    write(data, "train/dog/plain.png", np_image(7))
    write(data, "test/cat/plain.png", np_image(8))
    target = configured({}, near_duplicates=True, duplicates="one_split")
    runs.execute(target)
    near = [row for row in runs.rows(target, "duplicates", "duplicates") if row["kind"] == "near"]
    assert {row["image_id"] for row in near} == {"test/dog/4.jpg", "train/dog/smaller.jpg", "train/dog/saved.png"}
    assert {row["group"] for row in near} == {"test/dog/4.jpg"}
    assert {row["used_as"] for row in near} == {"test"}
    listed, used = splits(target, "ingest"), splits(target, "deduplicate")
    moved = {name for name in listed if listed[name] != used[name]}
    assert moved == {"train/dog/smaller.jpg", "train/dog/saved.png", "train/cat/leak.jpg"}


def np_image(value):
    """A picture of one grey value."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 20, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_package_is_asked_for_before_an_image_is_opened(configured, monkeypatch):
    """Breaks when a missing package is found out after the data set was read, or needed by who did not ask."""
    monkeypatch.setitem(sys.modules, "imagehash", None)
    target = configured(stages={}, near_duplicates=True)
    line = r"^stage perceptual_hash \(dataset: near_duplicates\): the package ImageHash is not installed: pip install "
    with pytest.raises(UsageError, match=line + r"'weakbox\[duplicates\]'$"):
        runs.execute(target)
    assert target.store.newest("ingest") is None
    assert runs.execute(configured(stages={})) == {"ingest": 4, "truth": 3, "duplicates": 1}


def test_broken_images_are_in_no_group(configured, tmp_path):
    """Breaks when two empty files are equal pictures, or one of them ends the search."""
    for name in ("train/cat/e.jpg", "test/cat/e.jpg"):
        write(tmp_path / "data", name, b"")
    target = configured({}, near_duplicates=True, duplicates="drop")
    runs.execute(target)
    assert len(runs.rows(target, "ingest", "quarantine")) == 2
    assert len({row["group"] for row in runs.rows(target, "duplicates", "duplicates")}) == 2


def test_the_order_of_splits_is_that_of_all_splits():
    """Breaks when a split is added that no group can be in."""
    from schemas.types import SPLITS

    assert sorted(HELD_OUT_FIRST) == sorted(SPLITS)
