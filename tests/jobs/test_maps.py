"""`weakbox maps`: a run's maps as the standard evaluator reads them."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from jobs.cli import cli
from jobs.results import metric_rows
from jobs.target import open_target
from tests import runs
from tests.papers import replicas


@pytest.fixture
def config(run_copy, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(run_copy))
    return str(path)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli, arguments)


def test_score_finds_the_numbers_of_the_run(config, finished_run, tmp_path):
    """Breaks when a written map is another one than sweep counts: rounded, of another size, or stretched first."""
    result = invoke("maps", config, "cam", "--out", str(tmp_path / "maps"), "--split", "test")
    assert result.exit_code == 0, result.output
    images = runs.images(finished_run, "test")
    assert len(list((tmp_path / "maps").rglob("*.npy"))) == len(images)
    metadata = tmp_path / "DEMO" / "test"
    metadata.mkdir(parents=True)
    lines: dict[str, list[str]] = {"image_ids": [], "class_labels": [], "image_sizes": [], "localization": []}
    for image_id, image in images.items():
        lines["image_ids"].append(image_id)
        lines["class_labels"].append(f"{image_id},{image['label']}")
        lines["image_sizes"].append(f"{image_id},{image['width']},{image['height']}")
        for box in image["gt_boxes"]:
            corners = (box["x0"], box["y0"], box["x1"] - 1, box["y1"] - 1)
            lines["localization"].append(",".join([image_id, *(f"{corner:.0f}" for corner in corners)]))
    for name, texts in lines.items():
        (metadata / f"{name}.txt").write_text("\n".join(texts) + "\n")
    result = invoke("score", "--maps", str(tmp_path / "maps"), "--metadata", str(metadata), "--json", "-")
    assert result.exit_code == 0, result.output
    rows = [row for row in json.loads(result.stdout) if row["method"] == "maps"]
    scored = {row["metric"]: row["value"] for row in rows if row["metric"].startswith("max_box")}
    own = {row["metric"]: row["value"] for row in metric_rows(finished_run) if row["source"] == "cam"}
    assert scored
    for metric, value in scored.items():
        assert value == own[metric], metric


def test_files_are_plain_numbers_of_the_evaluators_frame(config, tmp_path):
    """Breaks when a file needs pickle, or holds anything but 224 x 224 numbers from 0 to 1."""
    assert invoke("maps", config, "ddt", "--out", str(tmp_path / "out")).exit_code == 0
    files = list((tmp_path / "out").rglob("*.npy"))
    assert len(files) == runs.TRAIN + runs.TEST
    found = np.load(files[0], allow_pickle=False)
    assert found.shape == (224, 224)
    assert (found.min(), found.max()) == (0, 1)


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("can", "there is no stage 'can'; did you mean 'cam'?"),
        ("classify", "stage classify makes no score maps"),
        ("cam_again", "stage cam_again was not run with this config"),
    ],
)
def test_what_has_no_maps_is_one_clear_line(config, tmp_path, stage, said):
    """Breaks when a stage without maps gives an empty folder, or a traceback."""
    changes = ("--set", "stages.cam_again={stage: cam, form: simplified}")
    result = invoke("maps", config, stage, "--out", str(tmp_path / "out"), *changes)
    assert result.exit_code != 0
    assert said in str(result.exception)
    assert not (tmp_path / "out").exists() or not os.listdir(tmp_path / "out")


def test_maps_are_those_that_the_config_asks_for(config, tmp_path):
    """Breaks when the newest maps are written in place of those of another form, which nobody has made."""
    result = invoke("maps", config, "cam", "--out", str(tmp_path / "out"), "--set", "stages.cam.form=simplified")
    assert "stage cam was not run with this config" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_one_clear_line(config, tmp_path):
    """Breaks when --out below a file ends in a traceback."""
    Path(tmp_path / "file").write_text("")
    result = invoke("maps", config, "cam", "--out", str(tmp_path / "file" / "maps"))
    assert "--out" in str(result.exception)


def test_instances_and_ignored_regions_count_as_the_evaluator_has_them(tmp_path):
    """Breaks when a run takes one mask an image, drops ignored regions, or insists on masks of the image's size."""
    made = replicas.pictures(tmp_path / "demo")
    root = replicas.wsol(tmp_path / "data", made, "OpenImages", masks=True)
    stages = {
        "classify": {"backbone": "smallnet", "epochs": 0},
        "cam": {},
        "sweep": {},
        "evaluate": {"counts": ["sweep"], "splits": ["val", "test"]},
    }
    dataset = {"reader": "openimages", "root": str(root), "metadata": "metadata/OpenImages"}
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": stages}))
    target = open_target(str(config))
    runs.execute(target)
    own: dict[Any, Any] = {(row["split"], row["metric"]): row["value"] for row in metric_rows(target)}
    assert not any(metric.startswith("peak") for _, metric in own), "Peak-IoU knows no ignored regions"
    for split in ("val", "test"):
        out = str(tmp_path / "maps" / split)
        assert invoke("maps", str(config), "cam", "--out", out, "--split", split).exit_code == 0
        metadata = root / "metadata" / "OpenImages" / split
        masks = str(root / "dataset" / "OpenImages")
        result = invoke("score", "--maps", out, "--metadata", str(metadata), "--masks", masks, "--json", "-")
        assert result.exit_code == 0, result.output
        (scored,) = (
            row["value"] for row in json.loads(result.stdout) if row["metric"] == "pxap" and row["method"] == split
        )
        assert own[split, "pxap"] == scored
