"""Data that only look the same, and results that do not belong together: nothing stale is shown without a word."""

import io
import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from jobs.target import open_target
from pipeline.store.layout import RecipeFolder
from tests import runs

STAGES = {
    "classify": runs.STAGES["classify"],
    "cam": {},
    "boxes_cam": {"stage": "boxes", "maps": "cam", "threshold": 0.3},
    "evaluate": {"labels": ["boxes_cam"], "splits": ["test"]},
    "report": {"labels": ["boxes_cam"]},
}


@pytest.fixture
def config(run_copy, tmp_path, weakbox):
    """A finished run of a short chain, as a config file."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**run_copy, "stages": STAGES}))
    assert weakbox("run", str(path), "--in-process")[0] == 0
    return path


def repaint(path: Path) -> None:
    """Other pixels; size and time stay."""
    times, size = path.stat(), path.stat().st_size
    other = io.BytesIO()
    Image.open(path).rotate(90).save(other, "PNG" if path.suffix == ".png" else "JPEG", quality=30)
    data = other.getvalue()
    path.write_bytes(data.ljust(size, b"\0") if len(data) <= size else data[:size])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def hashes(config) -> set[str]:
    return {row["content_hash"] for row in runs.rows(open_target(str(config)), "ingest", "images")}


def test_another_root_with_files_that_look_the_same_is_read(config, weakbox):
    """Breaks when a data set of equal names, sizes and times is taken for the one that was listed elsewhere."""
    shutil.copytree("data", "other")
    for path in Path("other").rglob("*.jpg"):
        repaint(path)
    before = hashes(config)
    there = f"dataset.root={Path('other').resolve()}"
    code, out, _ = weakbox("plan", str(config), "--set", there, "--json", "-")
    assert code == 0
    assert next(row for row in json.loads(out) if row["stage"] == "ingest")["state"] == "to run"
    assert weakbox("run", str(config), "--in-process", "--set", there)[0] == 0
    assert not hashes(config) & before
    code, _, err = weakbox("metrics", str(config))
    assert code == 0
    assert "these results are of the data as listed elsewhere" in err


def test_a_trusted_listing_of_another_root_is_not_trusted(config, weakbox):
    """Breaks when `rescan: false` shows one data set's results for another."""
    nowhere = ("--set", "dataset.root=/nowhere/at/all", "--set", "dataset.rescan=false")
    code, _, err = weakbox("run", str(config), "--in-process", *nowhere)
    assert code == 2
    assert "/nowhere/at/all" in err


def test_a_lost_listing_brings_no_replaced_image_back(config, weakbox):
    """Breaks when what was found by reading is forgotten with the listing, and old results stand for new files."""
    target = open_target(str(config))
    image = next(iter(runs.images(target, "test").values()))["file"]
    repaint(image)
    content = ("--set", "dataset.rescan=content")
    assert weakbox("run", str(config), "--in-process", *content)[0] == 0
    found = hashes(config)
    newest = target.store.newest("ingest")
    assert newest is not None
    (Path(target.config.run_root) / RecipeFolder("ingest", newest[0]).listing).unlink()
    assert weakbox("run", str(config), "--in-process")[0] == 0
    assert hashes(config) == found


def test_masks_replaced_with_size_and_time_kept(config, weakbox):
    """Breaks when `rescan: content` does not look at masks, and evaluate can never run again."""
    for path in Path("data/masks/test").rglob("*.png"):
        times, data = path.stat(), bytearray(path.read_bytes())
        path.write_bytes(bytes(data) + b"")
        other = io.BytesIO()
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other, "PNG", compress_level=9)
        path.write_bytes(other.getvalue())
        os.truncate(path, len(other.getvalue()))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    content = ("--set", "dataset.rescan=content")
    assert weakbox("run", str(config), "--in-process", *content)[0] == 0
    assert weakbox("run", str(config), "--in-process", "--force", "evaluate", *content)[0] == 0


def test_results_of_other_listings_are_not_mixed(config, weakbox, tmp_path):
    """Breaks when boxes of old images are exported with the sizes of new ones."""
    for path in Path("data/test").rglob("*.jpg"):
        Image.new("RGB", (40, 90)).save(path)
    assert weakbox("run", str(config), "--in-process", "--only", "ingest")[0] == 0
    for verb in (["export", "--labels", "boxes_cam", "--out", str(tmp_path / "out")], ["report"]):
        code, _, err = weakbox(verb[0], str(config), *verb[1:])
        assert code == 2, verb
        assert "was not run with this config on the data as listed last" in err
    code, _, err = weakbox("metrics", str(config))
    assert code == 0
    assert "the data set changed since this was made: run again" in err


def test_a_trusted_listing_poisons_no_truth(config, weakbox):
    """Breaks when boxes of today are kept under the fingerprint of yesterday's."""
    trusting = ("--set", "dataset.rescan=false")
    assert weakbox("run", str(config), "--in-process", "--force", "truth", *trusting)[0] == 0, "rows are listed for it"
    runs.rewrite_boxes(Path("data"), lambda line: [{**line, "x0": "0"}])
    code, _, err = weakbox("run", str(config), "--in-process", "--force", "truth", *trusting)
    assert code == 2
    assert "the data set changed since the listing that rescan: false trusts" in err
    assert weakbox("run", str(config), "--in-process")[0] == 0


def test_a_report_made_without_pictures_is_made_again(config, weakbox):
    """Breaks when a page that could not show its pictures stays so once they are back."""
    target = open_target(str(config))
    page = Path(target.config.run_root, "report.html")
    os.rename("data", "away")
    samples = ("--set", "stages.report.samples=5")
    assert weakbox("report", str(config), *samples)[0] == 0
    assert "could not be read for this page" in page.read_text()
    os.rename("away", "data")
    assert weakbox("report", str(config), *samples)[0] == 0
    assert "could not be read for this page" not in page.read_text()


def test_a_refused_config_is_not_remembered(config, weakbox):
    """Breaks when a run that was refused makes its config that of the root, whose results then seem gone."""
    root = open_target(str(config)).config.run_root
    assert weakbox("run", str(config), "--in-process", "--set", "stages.classify.backbone=timm:no_such_thing")[0] == 2
    assert weakbox("metrics", root)[0] == 0


def test_truth_that_came_later_is_seen_by_a_stage_run_alone(run_copy, weakbox, tmp_path):
    """Breaks when `--only` believes what the first listing said of annotations."""
    path = tmp_path / "config.yaml"
    stages = {**STAGES, "sweep_cam": {"stage": "sweep", "maps": "cam"}}
    path.write_text(yaml.safe_dump({**run_copy, "run_root": str(tmp_path / "fresh"), "stages": stages}))
    shutil.move("data/boxes.csv", "boxes.csv")
    assert weakbox("run", str(path), "--in-process")[0] == 0
    shutil.move("boxes.csv", "data/boxes.csv")
    stages["calibrate"] = {"counts": "sweep_cam"}
    path.write_text(yaml.safe_dump({**run_copy, "run_root": str(tmp_path / "fresh"), "stages": stages}))
    assert weakbox("run", str(path), "--in-process")[0] == 0
    assert weakbox("run", str(path), "--in-process", "--only", "calibrate", "--force", "calibrate")[0] == 0
