"""Verbs answer for the config that they are given, or say that it was not run."""

import json

import pytest
import yaml

from jobs.target import open_target
from tests import runs

SET = "stages.boxes_cam.threshold={}"


@pytest.fixture
def config(run_copy, tmp_path, weakbox):
    """A run at threshold 0.2, then at 0.6, on one root."""
    stages = {name: runs.STAGES[name] for name in ("classify", "cam")}
    stages["boxes_cam"] = {"stage": "boxes", "maps": "cam", "threshold": 0.2}
    stages["evaluate"] = {"labels": ["boxes_cam"], "splits": ["test"]}
    stages["report"] = {"labels": ["boxes_cam"]}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**run_copy, "stages": stages}))
    for threshold in (0.2, 0.6):
        assert weakbox("run", str(path), "--in-process", "--set", SET.format(threshold))[0] == 0
    return str(path)


def thresholds(out: str) -> set[float]:
    return {row["threshold"] for row in json.loads(out) if row["source"] == "boxes_cam" and row["threshold"]}


def test_metrics_are_those_of_the_config(config, weakbox):
    """Breaks when the numbers of whatever ran last are shown under the config that was asked for."""
    for threshold in (0.2, 0.6):
        code, out, _ = weakbox("metrics", config, "--set", SET.format(threshold), "--json", "-")
        assert (code, thresholds(out)) == (0, {threshold})
    code, out, err = weakbox("metrics", config, "--set", SET.format(0.4), "--json", "-")
    assert (code, out) == (2, "")
    assert "stage evaluate was not run with this config" in err


def test_a_run_root_means_its_newest_config(config, weakbox):
    """Breaks when a root as TARGET shows another config than the last one that ran on it."""
    root = open_target(config).config.run_root
    code, out, _ = weakbox("metrics", root, "--json", "-")
    assert (code, thresholds(out)) == (0, {0.6})


def test_export_and_report_are_those_of_the_config(config, weakbox, tmp_path):
    """Breaks when boxes or a page of another threshold are written under the config that was asked for."""
    boxes = {}
    for threshold in (0.2, 0.6):
        out = tmp_path / f"out-{threshold}"
        changed = ["--set", SET.format(threshold)]
        assert weakbox("export", config, *changed, "--labels", "boxes_cam", "--out", str(out))[0] == 0
        said = json.loads((out / "coco_test.json").read_text())
        boxes[threshold] = [entry["bbox"] for entry in said["annotations"]]
        page = tmp_path / f"page-{threshold}.html"
        assert weakbox("report", config, *changed, "--out", str(page))[0] == 0
        assert f"threshold {threshold}" in " ".join(page.read_text().split()) or str(threshold) in page.read_text()
    assert boxes[0.2] != boxes[0.6]
    for verb in (["export", "--labels", "boxes_cam", "--out", str(tmp_path / "none")], ["report"]):
        code, _, err = weakbox(verb[0], config, "--set", SET.format(0.4), *verb[1:])
        assert code == 2
        assert "was not run with this config" in err
    assert not (tmp_path / "none").exists()
