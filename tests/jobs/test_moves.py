"""What `plan` says must run after something moved or changed: data, run root, an image, its ground truth."""

import io
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from jobs.target import open_target, remember
from tests import runs

SCORED = ["classify", "classes", "cam", "sweep_cam"]
FIXED = {
    **{name: runs.STAGES[name] for name in SCORED},
    "boxes_cam": {"stage": "boxes", "maps": "cam", "threshold": 0.3},
    "psol": {"labels": "boxes_cam", "epochs": 1, "batch_size": 16},
    "psol_boxes": {"stage": "localize", "model": "psol"},
    "evaluate": {"classes": "classes", "predictions": ["psol_boxes"], "counts": ["sweep_cam"], "splits": ["test"]},
    "report": {"maps": ["cam"], "labels": ["boxes_cam"]},
    "export": {"labels": "boxes_cam"},
}


@pytest.fixture
def to_run(weakbox):
    """What `plan` says of the stages that are to run: stage -> (shards, why)."""

    def planned(target, *changes):
        options = [word for change in changes for word in ("--set", change)]
        code, out, err = weakbox("plan", str(target), "--json", "-", *options)
        assert code == 0, err
        return {row["stage"]: (row["to_run"], row["why"]) for row in json.loads(out) if row["state"] != "done"}

    return planned


@pytest.fixture
def config(run_copy, tmp_path):
    """The copied finished run, without a calibrated threshold, as a config file beside its run root."""
    return written(tmp_path, {**run_copy, "stages": {**FIXED, "ddt": {}}})


def written(folder, config):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    remember(open_target(str(path)))
    return path


def replaced(path: Path) -> None:
    """Give an image other pixels; size and time stay."""
    times, data = path.stat(), path.read_bytes()
    other = io.BytesIO()
    Image.open(path).rotate(90).save(other, "JPEG", quality=30)
    path.write_bytes(other.getvalue().ljust(len(data), b"\0"))
    assert path.stat().st_size == times.st_size
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_moving_data_or_run_root_runs_nothing(run_copy, to_run, weakbox, tmp_path):
    """Breaks when a place is part of what something is: after a move everything, trainings too, would run again."""
    config = written(tmp_path, run_copy)
    assert to_run(config) == {}
    os.rename("data", tmp_path / "photos")
    assert to_run(config, f"dataset.root={tmp_path / 'photos'}") == {}
    os.rename("run", tmp_path / "moved")
    assert to_run(tmp_path / "moved", f"dataset.root={tmp_path / 'photos'}") == {}
    both = (f"dataset.root={tmp_path / 'photos'}", f"run_root={tmp_path / 'moved'}")
    assert to_run(config, *both) == {}
    options = [word for change in both for word in ("--set", change)]
    assert weakbox("run", str(config), "--in-process", *options)[0] == 0
    assert to_run(tmp_path / "moved") == {}, "where the data is now was remembered"


def test_a_copy_with_other_times_is_read_once_and_runs_nothing_else(run_copy, to_run, weakbox, tmp_path):
    """Breaks when a file's time is part of what its image is."""
    config = written(tmp_path, run_copy)
    shutil.copytree("data", tmp_path / "photos", copy_function=shutil.copyfile)
    there = f"dataset.root={tmp_path / 'photos'}"
    planned = to_run(config, there)
    assert planned.pop("ingest")[1].startswith("the data set changed")
    assert all("known after ingest" in why or "known after truth" in why for _, why in planned.values()), planned
    before = attempts(config)
    assert weakbox("run", str(config), "--in-process", "--set", there)[0] == 0
    changed = {stage for stage, found in attempts(config).items() if found != before[stage]}
    assert changed == {"ingest", "truth"}
    assert to_run(config, there) == {}


def attempts(config):
    target = open_target(str(config))
    return {name: sorted(done.attempt for done in runs.dones(target, name)) for name in target.stages}


def test_verbs_that_show_need_no_data(run_copy, weakbox, tmp_path):
    """Breaks when a finished run cannot be shown, scored or exported once its data is gone or elsewhere."""
    run_copy["stages"] = {**run_copy["stages"], "report": {"labels": ["boxes_cam"]}}
    config = written(tmp_path, run_copy)
    assert weakbox("run", str(config), "--in-process")[0] == 0
    os.rename("data", tmp_path / "gone")
    root = run_copy["run_root"]
    for verb in (
        ["status"],
        ["metrics"],
        ["report"],
        ["export", "--labels", "boxes_ddt", "--out", str(tmp_path / "o")],
    ):
        code, _, err = weakbox(verb[0], root, *verb[1:])
        assert code == 0, (verb, err)
    code, _, err = weakbox("report", root, "--set", "stages.report.samples=5")
    assert code == 0, err
    assert "could not be read for this page: it is not there" in Path(root, "report.html").read_text()


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_added_ground_truth_runs_what_scores_and_nothing_else(config, to_run, weakbox, kind):
    """Breaks when boxes or masks that came later, to measure with, train or map anything again."""
    shutil.move("data/boxes.csv", "boxes.csv")
    shutil.move("data/masks", "masks")
    assert weakbox("run", str(config), "--in-process")[0] == 0
    assert to_run(config) == {}
    shutil.move("boxes.csv", "data/boxes.csv") if kind == "boxes" else shutil.move("masks", "data/masks")
    planned = to_run(config)
    assert set(planned) == {"truth", "sweep_cam", "evaluate", "report"}
    assert "annotations" in planned["truth"][1]
    for stage in ("sweep_cam", "evaluate"):
        assert re.match("input (counts, )?truth changed", planned[stage][1]), planned
    before = attempts(config)
    assert weakbox("run", str(config), "--in-process")[0] == 0
    assert {stage for stage, found in attempts(config).items() if found != before[stage]} == set(planned)
    assert to_run(config) == {}


def test_one_changed_box_runs_what_scores_its_shard(config, to_run, weakbox):
    """Breaks when one corrected box counts every map again, or goes unseen."""
    assert weakbox("run", str(config), "--in-process")[0] == 0
    name = next(iter(runs.images(open_target(str(config)), "test")))
    runs.rewrite_boxes(Path("data"), lambda line: [{**line, "x0": "0"} if line["image_id"] == name else line])
    planned = to_run(config)
    assert {stage: shards for stage, (shards, _) in planned.items()} == {
        "truth": 1, "sweep_cam": 1, "evaluate": 1, "report": 1,
    }  # fmt: skip
    assert planned["truth"][1].startswith("annotations changed")


def test_a_replaced_mask_is_seen(config, to_run, weakbox):
    """Breaks when another mask under the same name is scored as the old one."""
    assert weakbox("run", str(config), "--in-process")[0] == 0
    (mask,) = next(iter(runs.images(open_target(str(config)), "test").values()))["masks"]
    mask.write_bytes(mask.read_bytes())
    assert set(to_run(config)) == {"truth", "sweep_cam", "evaluate", "report"}
    before = attempts(config)
    assert weakbox("run", str(config), "--in-process")[0] == 0
    assert {stage for stage, found in attempts(config).items() if found != before[stage]} == {"truth"}, "the same bytes"


def test_an_image_replaced_with_size_and_time_kept(config, to_run, weakbox):
    """Breaks when `rescan: content` misses it, or runs more than what sees it; or a run believes the new pixels."""
    assert weakbox("run", str(config), "--in-process")[0] == 0
    target = open_target(str(config))
    name, image = next((name, row) for name, row in runs.images(target).items() if row["split"] == "test")
    replaced(image["file"])
    assert to_run(config) == {}, "nothing tells but its bytes"
    planned = to_run(config, "dataset.rescan=content")
    assert planned["ingest"] == (1, "the data set changed (1 of 6 shards)")
    one = {stage for stage, (shards, _) in planned.items() if shards == 1}
    assert {"cam", "sweep_cam", "boxes_cam", "evaluate"} <= one
    assert all("known after ingest" in why for stage, (_, why) in planned.items() if stage != "ingest"), planned
    assert weakbox("run", str(config), "--in-process", "--set", "dataset.rescan=content")[0] == 0
    assert runs.images(target)[name]["content_hash"] != image["content_hash"]
    assert to_run(config) == to_run(config, "dataset.rescan=content") == {}, "it was remembered"


def test_an_image_that_is_gone(config, to_run, weakbox):
    """Breaks when an image that went leaves its results, or takes those of others along."""
    assert weakbox("run", str(config), "--in-process")[0] == 0
    target = open_target(str(config))
    name, image = next((name, row) for name, row in runs.images(target).items() if row["split"] == "test")
    image["file"].unlink()
    runs.rewrite_boxes(Path("data"), lambda line: [line] if line["image_id"] != name else [])
    planned = {stage: shards for stage, (shards, _) in to_run(config).items()}
    assert planned["ingest"] == planned["cam"] == planned["boxes_cam"] == 1
    assert "psol" not in planned or planned["psol"] == 1
    assert weakbox("run", str(config), "--in-process")[0] == 0
    assert name not in runs.images(target)
    assert name not in {row["image_id"] for row in runs.rows(target, "cam", "score_maps")}
    assert to_run(config) == {}


def test_a_changed_image_is_refused_where_it_is_read(config, to_run, weakbox):
    """Breaks when a stage maps other pixels than those that were listed, under the old size and hash."""
    assert weakbox("run", str(config), "--in-process")[0] == 0
    target = open_target(str(config))
    name, image = next((name, row) for name, row in runs.images(target).items() if row["split"] == "test")
    replaced(image["file"])
    code, _, err = weakbox("run", str(config), "--in-process", "--set", "stages.cam.input_size=32")
    assert code in (0, 3), err
    (row,) = runs.rows(target, "cam", "quarantine")
    assert (row["image_id"], row["reason"].partition(":")[0]) == (name, "changed since it was listed")


def test_a_changed_image_ends_a_training_in_one_line(config, weakbox):
    """Breaks when a training learns from other pixels than those that were listed."""
    assert weakbox("run", str(config), "--in-process")[0] == 0
    target = open_target(str(config))
    name, image = next((name, row) for name, row in runs.images(target).items() if row["split"] == "train")
    replaced(image["file"])
    code, _, err = weakbox("run", str(config), "--in-process", "--set", "stages.psol.epochs=2")
    assert code == 1
    assert f"image {name}: changed since it was listed" in err.splitlines()[-1]


def test_truth_alone_reads_the_listing(config, to_run, weakbox):
    """Breaks when `--only truth` believes what an earlier listing said of the annotations, or has no rows to read."""
    assert weakbox("run", str(config), "--in-process")[0] == 0
    name = next(iter(runs.images(open_target(str(config)), "test")))
    runs.rewrite_boxes(Path("data"), lambda line: [{**line, "x0": "0"} if line["image_id"] == name else line])
    assert weakbox("run", str(config), "--in-process", "--only", "truth")[0] == 0
    (box,) = runs.images(open_target(str(config)), "test")[name]["gt_boxes"]
    assert box["x0"] == 0
    assert "truth" not in to_run(config)
