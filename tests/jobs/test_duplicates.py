"""Equal pictures as a user of the command meets them."""

import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from jobs.target import open_target
from tests import runs


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Six pictures of each of two classes in train, the first three of them in test too, one under the other class."""
    for number, name in enumerate(("cat", "dog")):
        for i in range(6):
            pixels = np.random.default_rng(10 * number + i).integers(0, 255, (32, 32, 3), np.uint8)
            path = tmp_path / "data" / "train" / name / f"{i:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            if i < 3:
                copied = tmp_path / "data" / "test" / name / path.name
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copied)
    shutil.copy(tmp_path / "data/train/cat/001.png", tmp_path / "data/train/dog/contradiction.png")
    boxes = [f"test/{name}/{i:03d}.png,2,3,30,31" for name in ("cat", "dog") for i in range(3)]
    (tmp_path / "data" / "boxes.csv").write_text("\n".join(["image_id,x0,y0,x1,y1", *boxes]) + "\n")
    stages = {
        "classify": {"epochs": 0, "backbone": "smallnet"},
        "cam": {},
        "boxes": {"maps": "cam", "threshold": 0.5},
        "evaluate": {"labels": ["boxes"], "splits": ["test"]},
        "report": {},
    }
    dataset = {"reader": "folder", "root": str(tmp_path / "data"), "dev_fraction": 0.2, "shard_size": 5}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": stages}))
    monkeypatch.chdir(tmp_path)
    return str(path)


def said(err):
    return [line for line in err.splitlines() if "equal pictures" in line]


def test_a_run_says_once_which_pictures_are_equal(weakbox, config):
    """Breaks when equal pictures in train and test, or under two classes, pass without a word."""
    code, _, err = weakbox("run", config, "--in-process", "--set", "stages={}")
    assert code == 0, err
    (line,) = said(err)
    assert "6 groups of equal pictures (13 images): 6 across splits (" in line
    assert "test/cat/000.png in test, train/cat/000.png in train" in line
    assert "1 under several classes (test/cat/001.png in cat, train/dog/contradiction.png in dog" in line


def test_what_a_policy_leaves_is_a_sound_run(weakbox, config, tmp_path):
    """Breaks when images that a policy leaves out look like lost ones, or a later verb reads them all the same."""
    for policy, used in (("one_split", 13), ("drop", 5)):
        options = ("--set", f"dataset.duplicates={policy}")
        code, _, err = weakbox("run", config, "--in-process", *options)
        assert code == 0, err
        assert len(said(err)) == 1
        assert weakbox("verify", config, *options)[0] == 0
        rows = json.loads(weakbox("plan", config, *options, "--json", "-")[1])
        assert {row["stage"]: row["state"] for row in rows if row["state"] != "done"} == {}
        metrics = json.loads(weakbox("metrics", config, *options, "--json", "-")[1])
        assert {row["dataset"] for row in metrics} == {"folder:data"}
        target = open_target(config, (f"dataset.duplicates={policy}",))
        test = [row for row in runs.rows(target, "deduplicate", "images") if row["split"] == "test"]
        assert len(test) == used
        page = (tmp_path / "run" / "report.html").read_text()
        assert "6 groups of equal pictures across splits" in page
        assert ("left out" if policy == "drop" else "used as test") in page
        code, _, err = weakbox("export", config, *options, "--labels", "boxes", "--out", str(tmp_path / policy))
        assert code == 0, err
        exported = json.loads(next((tmp_path / policy).glob("*test*.json")).read_text())
        assert len(exported["images"]) == used
