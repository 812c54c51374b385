"""The rooms together, on sixty tiny images: what hangs on what, and what may influence what."""

import os
import shutil

import numpy as np
import pytest

from pipeline.upkeep.verify import verify
from schemas import TABLES, validate
from stages.ingest.scan import is_dev
from tests import runs


def test_every_table_of_every_stage_follows_its_schema(finished_run):
    """Breaks when a stage writes other tables than it declares, or one off its schema."""
    for name, stage in finished_run.stages.items():
        for done in runs.dones(finished_run, name):
            assert set(done.tables) - {"quarantine"} == set(stage.outputs), name
            for table in done.tables:
                validate(finished_run.store.table(done, table), TABLES[table])


def test_a_finished_run_is_complete_and_sound(finished_run, demo_data, monkeypatch):
    """Breaks when a finished run still plans work, or verify finds damage in it."""
    monkeypatch.chdir(demo_data.parent)
    assert runs.missing(finished_run) == {}
    found = verify(finished_run.store, list(finished_run.stages))
    assert found.damage == []
    assert found.stages == len(finished_run.stages)


@pytest.mark.parametrize("of_dev", [False, True])
def test_adding_images_runs_only_what_sees_them(run_copy, of_dev):
    """Breaks when growth runs an old shard: five images of one class, the classifier pinned (`refit: never`).

    A threshold is chosen anew, and applied to all, only where the new images are of dev.
    """
    label = "3"
    source = sorted(runs.Path("data/train", label).iterdir())[0]
    for name in names_of(label, of_dev)[:5]:
        shutil.copy2(source, f"data/train/{label}/{name}")
    grown = runs.target_of(run_copy)
    found = {name: len(keys) for name, keys in runs.missing(grown).items()}
    assert found == {
        "ingest": 1,
        "duplicates": 1,
        "cam": 1,
        "ddt": 1,
        "boxes_cam": len(runs.dones(grown, "boxes_cam")) + 1 if of_dev else 1,
        "boxes_ddt": 1,
        "sweep_ddt": 1,
        "psol": 1,
        "psol_boxes": len(runs.dones(grown, "psol_boxes")) + of_dev,
        "evaluate": 1,
        **({"sweep_cam": 1, "calibrate": 1, "classes": 1} if of_dev else {}),
    }
    before = {row["image_id"]: row["content_hash"] for row in runs.rows(grown, "ingest", "images")}
    computed = runs.execute(grown)
    assert computed == found
    after = {row["image_id"]: row["content_hash"] for row in runs.rows(grown, "ingest", "images")}
    assert before.items() < after.items()
    assert len(after) == len(before) + 5
    new = [row for row in runs.rows(grown, "ddt", "score_maps") if "new" in row["image_id"]]
    assert len(new) == 5
    assert {row["label"] for row in new} == {3}


def names_of(label: str, of_dev: bool) -> list[str]:
    """File names in a class whose images are of dev, or of train."""
    names = (f"new{number}.jpg" for number in range(200))
    return [name for name in names if is_dev(f"train/{label}/{name}", runs.DEV_FRACTION) is of_dev]


def test_growth_refits_the_classifier_only_where_asked(run_copy):
    """Breaks when `refit: on_growth` keeps the old model, or `never` does not."""
    run_copy["stages"] = {"classify": {**runs.STAGES["classify"], "refit": "on_growth", "epochs": 0}}
    runs.execute(runs.target_of(run_copy))
    shutil.copy2("data/train/3/000003.jpg", "data/train/3/new.jpg")
    assert set(runs.missing(runs.target_of(run_copy))) == {"ingest", "duplicates", "classify"}


def test_a_changed_ddt_parameter_lists_ddt_and_what_hangs_below(run_copy, finished_run):
    """Breaks when plan lists a stage that does not read ddt, or misses one that does."""
    run_copy["stages"] = {**run_copy["stages"], "ddt": {"sign": "skew"}}
    found = {name: len(keys) for name, keys in runs.missing(runs.target_of(run_copy)).items()}
    assert found == {"ddt": 10, "boxes_ddt": 10, "sweep_ddt": 10, "evaluate": 1}


def test_ground_truth_boxes_of_train_influence_nothing(run_copy, finished_run):
    """Breaks when training, thresholds or predictions see a training box: the whole claim of weak supervision."""
    dev_and_test = {row["image_id"] for row in runs.rows(finished_run, "ingest", "images") if row["split"] != "train"}
    generator = np.random.default_rng(0)

    def scrambled(line):
        if line["image_id"] in dev_and_test:
            return [line]
        x0, y0 = generator.integers(0, 40, 2)
        return [{**line, "x0": x0, "y0": y0, "x1": x0 + 3, "y1": y0 + 20}]

    runs.rewrite_boxes(runs.Path("data"), scrambled)
    run_copy["run_root"] = "fresh"
    blind = runs.target_of(run_copy)
    runs.execute(blind)
    assert blind.store.newest("ingest") == finished_run.store.newest("ingest"), "the images did not change"
    assert blind.store.newest("truth") != finished_run.store.newest("truth"), "the boxes did change"
    for stage in ("classify", "psol"):
        (one,), (other,) = runs.dones(blind, stage), runs.dones(finished_run, stage)
        for blob in one.blobs:
            assert blind.store.blob(one, blob) == finished_run.store.blob(other, blob), f"{stage}: {blob}"
    for stage, table in (
        ("calibrate", "thresholds"),
        ("cam", "score_maps"),
        ("ddt", "components"),
        ("boxes_cam", "pseudo_labels"),
        ("boxes_ddt", "pseudo_labels"),
        ("classes", "predictions"),
        ("psol_boxes", "predictions"),
    ):
        assert table_of(blind, stage, table) == table_of(finished_run, stage, table), stage
    yardsticks = {"median_train_box"}
    numbers = [
        [{**row, "run": ""} for row in runs.rows(target, "evaluate", "metrics") if row["method"] not in yardsticks]
        for target in (blind, finished_run)
    ]
    assert repr(numbers[0]) == repr(numbers[1])


def table_of(target, stage: str, table: str) -> list[str]:
    return sorted(map(repr, runs.rows(target, stage, table)))


def test_a_bad_image_is_a_row_in_quarantine_and_the_run_goes_on(run_copy):
    """Breaks when one broken file stops a run or vanishes from it."""
    runs.Path("data/train/3/broken.jpg").write_bytes(b"no image at all")
    run_copy["stages"] = {}
    grown = runs.target_of(run_copy)
    assert runs.execute(grown) == {"ingest": 1, "duplicates": 1}
    (row,) = runs.rows(grown, "ingest", "quarantine")
    assert (row["image_id"], row["stage"], row["reason"]) == ("train/3/broken.jpg", "ingest", "not an image")
    assert len(runs.rows(grown, "ingest", "images")) == runs.TRAIN + runs.TEST


def test_an_image_that_breaks_after_ingest_is_quarantined_by_each_stage(run_copy):
    """Breaks when a file that was overwritten between two stages kills the later ones, or is not accounted for."""
    image = next(iter(runs.images(runs.target_of(run_copy)).values()))
    run_copy["stages"] = {"classify": runs.STAGES["classify"], "cam": {"input_size": 32}, "ddt": {"input_size": 32}}
    target = runs.target_of(run_copy)
    path = image["file"]
    good, times = path.read_bytes(), path.stat()
    try:
        path.write_bytes(good[: len(good) // 2])
        run_copy["dataset"]["rescan"] = False
        runs.execute(target, only="cam")
        runs.execute(target, only="ddt")
    finally:
        path.write_bytes(good)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    for stage in ("cam", "ddt"):
        (row,) = runs.rows(target, stage, "quarantine")
        assert (row["image_id"], row["stage"]) == (image["image_id"], stage)
        assert row["reason"].startswith("changed since it was listed")


@pytest.mark.parametrize("stage", ["cam", "ddt", "boxes_cam", "boxes_ddt", "classes", "psol_boxes"])
def test_every_image_of_a_stage_comes_out(finished_run, stage):
    """Breaks when a per-image stage loses an image of a split that it covers."""
    images = {row["image_id"]: row for row in runs.rows(finished_run, "ingest", "images")}
    table = finished_run.stages[stage].outputs[0]
    found = runs.rows(finished_run, stage, table)
    wanted = {i for i, row in images.items() if row["split"] != "train" or stage not in ("classes", "psol_boxes")}
    assert sorted(row["image_id"] for row in found) == sorted(wanted)
    for row in found:
        image = images[row["image_id"]]
        assert (row["label"], row["split"]) == (image["label"], image["split"])
        assert (row["image_height"], row["image_width"]) == (image["height"], image["width"])
