"""What is known to fail is refused by `plan` and `run` before an image is opened: networks, weights, the data set."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from jobs.target import open_target
from stages.ingest import worker
from stages.vision.backbones import meta, sources
from stages.vision.backbones.build import build
from stages.vision.backbones.networks import LocalizerNetwork
from tests import runs

VERBS = (("plan",), ("run", "--in-process"))
Said = dict[str, Any]
CAM: Said = {"classify": {}, "cam": {}}


def images(root: Path, *folders: str) -> Path:
    """A data set of two files in each folder, which are no images: whoever opens them quarantines them."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in ("a.jpg", "b.jpg"):
            (root / folder / name).write_bytes(b"no image")
    return root


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Said:
    """A config without stages, on a data set whose images nobody may open."""

    def opened(*_: object) -> None:
        raise AssertionError("an image was opened")

    monkeypatch.setattr(worker.IngestWorker, "__call__", opened)
    root = images(tmp_path / "data", "train/cat", "train/dog", "test/cat", "test/dog")
    dataset = {"reader": "folder", "root": str(root), "dev_fraction": 0}
    return {"run_root": str(tmp_path / "run"), "dataset": dataset}


@pytest.fixture
def refused(weakbox, tmp_path: Path) -> Callable[[Said], str]:
    """Plan and run a config, both of which must refuse it in the same line; returns the line."""

    def ask(said: Said) -> str:
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(said))
        lines = set()
        for verb in VERBS:
            code, out, err = weakbox(verb[0], str(config), *verb[1:])
            assert (code, out) == (2, ""), (verb, err)
            own = [line for line in err.splitlines() if not line.startswith("timestamp=")]
            assert len(own) == 1, err
            lines.add(own[0])
        run = Path(said["run_root"])
        assert sorted(path.name for path in run.iterdir()) == ["_runs", "layout.json"]
        assert len(lines) == 1, lines
        return lines.pop()

    return ask


def state(name: str = "smallnet", classes: int = 2) -> dict[str, torch.Tensor]:
    return dict(build(name, classes).state_dict())


NETWORKS: dict[str, tuple[Said, str]] = {
    "no map": ({"classify": {"backbone": "timm:crossvit_9_240"}}, "stage classify: .*gives no map of features"),
    "strides that stay": (
        {"classify": {"backbone": "timm:densenet121", "output_stride": 16}},
        "stage classify: timm's densenet121 has no output_stride 16",
    ),
    "cam where something stands between": (
        {"classify": {"backbone": "timm:mobilenetv3_small_050"}, "cam": {}},
        "stage cam: .*CAM is not defined; stage gradcam",
    ),
    "tap of another network": (
        {"classify": {"backbone": "timm:resnet18"}, "ddt": {"tap": "blocks.5"}},
        "stage ddt: unknown tap of timm:resnet18 'blocks.5'",
    ),
    "gradients beside the way": (
        {"classify": {"backbone": "vit_s16"}, "gradcam": {"tap": "features"}},
        "stage gradcam: the classes of vit_s16 do not depend on tap 'features'",
    ),
    "unknown to timm": ({"classify": {"backbone": "timm:vit_smal"}}, "stage classify: timm knows no network 'vit_smal"),
    "size of a transformer": (
        {"classify": {"backbone": "vit_tiny_p8", "input_size": 60}},
        "stage classify: the input's side must be a multiple of the patch's, 8, not 60",
    ),
    "size of a convolution": (
        {"classify": {"backbone": "inception_v3", "input_size": 32}},
        "stage classify: inception_v3 takes no images of 32 pixels",
    ),
    "size of a stage": (
        {"classify": {"backbone": "vit_tiny_p8"}, "cam": {"input_size": 60}},
        "stage cam: the input's side must be a multiple",
    ),
    "cam of a class token": ({"classify": {"backbone": "vit_s16"}, "cam": {}}, "stage cam: .*CAM is not defined"),
    "cam in a form without it": (
        {"classify": {}, "cam": {"form": "simplified", "combination": "linear"}},
        "stage cam: a combination of all classes has no simplified form",
    ),
    "localizer without cam": ({"classify": {"backbone": "vit_s16"}, "spa": {}}, "stage spa: .*no CAM"),
    "localizer with a class token": ({"classify": {}, "sdcam": {}}, "stage sdcam: smallnet has no class token"),
    "layers of a technique": (
        {"classify": {}, "plain_cam": {"technique": "adl", "taps": ["layer9"]}},
        "stage plain_cam: unknown tap of smallnet 'layer9'",
    ),
    "two layers for one": (
        {"classify": {"backbone": "vit_s16_gap"}, "plain_cam": {"technique": "spg"}},
        "stage plain_cam: self-produced guidance needs two layers",
    ),
    "grid of psol": (
        {"classify": {"backbone": "vit_s16"}, "cam": {"model": "other"}, "other": {"stage": "classify"},
         "boxes": {"threshold": 0.2}, "psol": {"pooling": 2}},
        "stage psol: .*pooling must be 1, not 2",
    ),
    "layer of ddt": ({"classify": {}, "ddt": {"tap": "layer4"}}, "stage ddt: unknown tap of smallnet 'layer4'"),
    "one layer twice": ({"classify": {}, "ddt": {"second_tap": "layer3"}}, "stage ddt: second_tap is layer3"),
    "layer of ncut": ({"classify": {}, "ncut": {"tap": "keys"}}, "stage ncut: unknown tap of smallnet 'keys'"),
    "layer of gradcam": ({"classify": {}, "gradcam": {"tap": "pool5"}}, "stage gradcam: unknown tap .*'pool5'"),
    "layer beside the classes": (
        {"classify": {"backbone": "vit_tiny_p8"}, "gradcam": {"tap": "keys"}},
        "stage gradcam: the classes of vit_tiny_p8 do not depend on tap 'keys'",
    ),
    "layer of scg": ({"classify": {}, "cam": {}, "scg": {"taps": ["layer0"]}}, "stage scg: unknown tap"),
    "grids of scg": ({"classify": {}, "cam": {}, "scg": {"taps": ["layer3", "layer1"]}}, "stage scg: taps must have"),
    "layer below a localizer": (
        {"classify": {}, "spa": {}, "ddt": {"model": "spa", "tap": "layer4"}},
        "stage ddt: unknown tap of smallnet 'layer4'",
    ),
    "boxes are no classes": (
        {"classify": {}, "cam": {}, "boxes": {"threshold": 0.2}, "psol": {}, "maps": {"stage": "cam", "model": "psol"}},
        r"stage maps: model 'psol' \(psol\) is no classifier",
    ),
    "start of another network": (
        {"small": {"stage": "classify"}, "classify": {"backbone": "smallnet_wide", "start": "small"}},
        "stage classify: weights of 'small' do not fit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_that_a_stage_cannot_use_is_refused_first(case, said, refused, monkeypatch):
    """Breaks when a network that cannot be built, a layer that it lacks or a size that it refuses is found late."""
    monkeypatch.setattr("stages.gradcam.stage.require", lambda *_: None)
    stages, words = NETWORKS[case]
    line = refused({**said, "stages": stages})
    assert re.search(words, line), line


def absent(_: Path) -> str:
    return "absent.safetensors"


def misspelt(_: Path) -> str:
    return "MobileNet_V2_Weight.IMAGENET1K_V1"


def of_another_network(_: Path) -> str:
    return "ResNet50_Weights.IMAGENET1K_V1"


def of_no_classifier(_: Path) -> str:
    return "Raft_Large_Weights.C_T_V1"


def of_no_package(_: Path) -> str:
    return "package:efficientnet"


def of_timm(_: Path) -> str:
    return "timm:vit_small_patch16_224.dinoX"


def of_another_of_timm(_: Path) -> str:
    return "timm:vit_small_patch16_224.dino"


def text(folder: Path) -> str:
    (folder / "w.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    return str(folder / "w.safetensors")


def cut_off(folder: Path) -> str:
    save_file(state(), folder / "w.safetensors")
    whole = (folder / "w.safetensors").read_bytes()
    (folder / "w.safetensors").write_bytes(whole[:-1000])
    return str(folder / "w.safetensors")


def of_a_wider_network(folder: Path) -> str:
    save_file(state("smallnet_wide"), folder / "w.safetensors")
    return str(folder / "w.safetensors")


def of_a_wider_network_elsewhere(folder: Path) -> str:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/weights/w.safetensors", Path(of_a_wider_network(folder)).read_bytes())
    return "memory://weights/w.safetensors"


def absent_elsewhere(_: Path) -> str:
    return "memory://weights/absent.pth"


def pickled(folder: Path) -> str:
    torch.save({"state_dict": state("smallnet_wide")}, folder / "w.pth")
    return str(folder / "w.pth")


def pickled_long_ago(folder: Path) -> str:
    torch.save(state("smallnet_wide"), folder / "w.pth", _use_new_zipfile_serialization=False)
    return str(folder / "w.pth")


def of_no_tensors(folder: Path) -> str:
    torch.save([1, 2], folder / "w.pth")
    return str(folder / "w.pth")


def a_folder(folder: Path) -> str:
    (folder / "w.pth").mkdir()
    return str(folder / "w.pth")


WEIGHTS = [
    (absent, "weights file absent.safetensors does not exist"),
    (absent_elsewhere, "weights file memory://weights/absent.pth does not exist"),
    (misspelt, "the nearest torchvision name is MobileNet_V2_Weights.IMAGENET1K_V1"),
    (of_another_network, "weights ResNet50_Weights.IMAGENET1K_V1 do not fit"),
    (of_no_classifier, "weights Raft_Large_Weights.C_T_V1 are of no classifier"),
    (of_no_package, "unknown weights 'package:efficientnet': did you mean 'package:efficientnet_lite0'"),
    (of_timm, "the nearest name that timm publishes is timm:vit_small_patch16_224.dino"),
    (of_another_of_timm, "weights timm:vit_small_patch16_224.dino do not fit"),
    (text, "cannot be read"),
    (cut_off, "cannot be read"),
    (of_a_wider_network, "w.safetensors do not fit"),
    (of_a_wider_network_elsewhere, "memory://weights/w.safetensors do not fit"),
    (pickled, "w.pth do not fit"),
    (pickled_long_ago, "w.pth do not fit"),
    (of_no_tensors, "w.pth is no state dict"),
    (a_folder, "w.pth are no file"),
]


@pytest.mark.parametrize(("made", "words"), WEIGHTS, ids=[made.__name__ for made, _ in WEIGHTS])
def test_weights_that_are_missing_or_of_another_network_are_refused_first(
    made, words, said, refused, tmp_path, monkeypatch
):
    """Breaks when weights are looked at after days of ingest, or when planning downloads or reads whole files."""
    monkeypatch.setattr(sources, "read_state", lambda _: pytest.fail("weights were loaded"))
    line = refused({**said, "stages": {"classify": {"weights": made(tmp_path)}}})
    assert line.startswith("weakbox: error: stage classify: ")
    assert words in line


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_a_head_of_other_classes_is_refused_once_they_are_counted(kind, said, refused, tmp_path):
    """Breaks when `keep_head` with weights of 1000 classes on a data set of two is found when the training starts."""
    path = tmp_path / f"w.{kind}"
    save_file(state(classes=7), path) if kind == "safetensors" else torch.save(state(classes=7), path)
    line = refused({**said, "stages": {"classify": {"weights": str(path), "keep_head": True}}})
    assert "have a head of another size" in line
    assert re.search(r"is \(7,.* the network has \(2,", line)


SCORED: Said = {"classify": {}, "cam": {}, "sweep": {}}

DATA: dict[str, tuple[tuple[str, ...], str | None, Said, str]] = {
    "no boxes of dev": (
        ("train/cat", "train/dog", "test/cat"),
        "test/cat/a.jpg,0,0,1,1",
        {**SCORED, "calibrate": {}},
        "stage calibrate: no image of split dev has a ground-truth box; give a fixed threshold, or a split that has"
        " some: test",
    ),
    "no boxes at all": (
        ("train/cat", "train/dog", "test/cat"),
        None,
        {**SCORED, "calibrate": {}},
        "stage calibrate: no image of split dev has a ground-truth box",
    ),
    "nothing to train on": (("test/cat", "val/cat"), None, {"classify": {}}, "classify: no image is of split train"),
    "nothing for a localizer": (
        ("test/cat", "val/cat"),
        None,
        {"classify": {"epochs": 0}, "spa": {}},
        "stage spa: no image is of split train: ingest has test, val",
    ),
    "labels of another split": (
        ("train/cat", "test/cat"),
        None,
        {**CAM, "arm": {"splits": ["test"]}, "boxes": {"maps": "arm", "threshold": 0.2}, "psol": {}},
        "stage psol: no image is of split train: boxes has test",
    ),
    "nothing to predict": (
        ("train/cat", "test/cat"),
        None,
        {"classify": {}, "localize": {"splits": ["val"]}},
        "stage localize: no image is of split val: ingest has test, train",
    ),
    "nothing to refine": (
        ("train/cat", "test/cat"),
        None,
        {**CAM, "arm": {"splits": ["val"]}},
        "stage arm: no image is of split val: cam has test, train",
    ),
    "nothing to export": (
        ("train/cat", "test/cat"),
        None,
        {**CAM, "boxes": {"threshold": 0.2}, "export": {"labels": "boxes", "splits": ["val", "dev"]}},
        "stage export: no image is of split val or dev: ingest has test, train",
    ),
    "predictions of another split": (
        ("train/cat", "test/cat"),
        None,
        {"classify": {}, "localize": {"splits": ["test"]}, "export": {"predictions": "localize", "splits": ["train"]}},
        "stage export: no image is of split train: localize has test",
    ),
    "nothing to count": (("train/cat", "train/dog"), None, SCORED, "sweep: no image is of split dev or val or test"),
    "nothing to report": (
        ("train/cat", "train/dog"),
        None,
        {"classify": {}, "evaluate": {}},
        "stage evaluate: no image is of split val or test: ingest has train",
    ),
    "a split without predictions": (
        ("train/cat", "test/cat", "val/cat"),
        "test/cat/a.jpg,0,0,1,1\nval/cat/a.jpg,0,0,1,1",
        {"classify": {}, "localize": {"splits": ["val"]}, "evaluate": {"predictions": ["localize"]}},
        "stage evaluate: it reports split test, and localize has val",
    ),
    "a split without counts": (
        ("train/cat", "test/cat", "val/cat"),
        "test/cat/a.jpg,0,0,1,1\nval/cat/a.jpg,0,0,1,1",
        {**CAM, "arm": {"splits": ["test"]}, "sweep": {"maps": "arm"}, "evaluate": {"counts": ["sweep"]}},
        "stage evaluate: it reports split val, and sweep has test",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DATA)
def test_a_data_set_of_which_a_stage_can_make_nothing_is_refused_once_it_is_listed(case, said, refused, tmp_path):
    """Breaks when days of ingest and training pass before a stage finds its split, or its ground truth, absent."""
    folders, boxes, stages, words = DATA[case]
    shutil.rmtree(tmp_path / "data")
    root = images(tmp_path / "data", *folders)
    if boxes is not None:
        (root / "boxes.csv").write_text(f"image_id,x0,y0,x1,y1\n{boxes}\n")
    assert words in refused({**said, "stages": stages})


def test_maps_of_other_splits_choose_no_threshold(said, refused, tmp_path):
    """Breaks when `calibrate` learns at its turn that the maps which were counted are of other splits than dev."""
    (tmp_path / "data" / "boxes.csv").write_text("image_id,x0,y0,x1,y1\ntrain/cat/a.jpg,0,0,1,1\n")
    said["dataset"]["dev_fraction"] = 1 - 1e-9
    counted = {"arm": {"splits": ["test"]}, "sweep": {"maps": "arm"}, "calibrate": {}}
    line = refused({**said, "stages": {"classify": {"epochs": 0}, "cam": {}, **counted}})
    assert "stage calibrate: no image is of split dev: sweep has test" in line


def test_train_is_never_counted_whatever_the_data_set(said, weakbox, tmp_path):
    """Breaks when `evaluate` of a split that sweeps do not count is found at the very end."""
    stages = {**SCORED, "evaluate": {"counts": ["sweep"], "splits": ["train", "test"]}}
    shutil.rmtree(tmp_path / "data")
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**said, "stages": stages}))
    for verb in VERBS:
        code, _, err = weakbox(verb[0], str(config), *verb[1:])
        assert (code, err.count("\n")) == (2, 1), err
        assert "stage evaluate: it reports split train, and sweep counts dev, val, test alone" in err


def test_one_stage_alone_is_judged_alone(weakbox, run_copy, tmp_path):
    """Breaks when `--only` is refused for what another stage would do, or is not judged on its newest inputs."""
    run_copy["stages"] = {**runs.STAGES, "new": {"stage": "localize", "model": "classify", "splits": ["val"]}}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(run_copy))
    assert weakbox("run", str(config), "--in-process", "--only", "sweep_cam")[0] == 0
    code, _, err = weakbox("run", str(config), "--in-process", "--only", "new")
    assert (code, err.count("\n")) == (2, 1), err
    assert "stage new: no image is of split val" in err
    before = open_target(str(config)).store.newest("new")
    assert before is None


PROGRAM = """
import sys
from jobs import cli

try:
    cli.main(["plan", sys.argv[1]])
except SystemExit as end:
    print("torch" in sys.modules, end.code)
"""


def test_what_fits_is_tried_once(said, weakbox, tmp_path, monkeypatch):
    """Breaks when every plan of an unfinished run imports torch, or when a change is taken for what was tried."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = tmp_path / "config.yaml"
    tried: list[str] = []
    built = meta.meta_network

    def counted(name: str, num_classes: int, size: int | None) -> LocalizerNetwork:
        tried.append(name)
        return built(name, num_classes, size)

    monkeypatch.setattr(meta, "meta_network", counted)

    def planned(**classify: object) -> list[str]:
        tried.clear()
        config.write_text(yaml.safe_dump({**said, "stages": {"classify": classify, "cam": {}}}))
        code, _, err = weakbox("plan", str(config))
        assert code == 0, err
        return list(tried)

    wide = planned(backbone="smallnet_wide")
    assert wide == ["smallnet_wide", "smallnet_wide"], "for classify and for cam"
    assert planned() == ["smallnet", "smallnet"]
    assert planned() == []
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(config)], capture_output=True, text=True, timeout=250)
    assert done.stdout.splitlines()[-1] == "False 0", done.stderr
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("XDG_CACHE_HOME", str(config / "no folder"))
    assert planned() == ["smallnet", "smallnet"], "where nothing can be kept, it is tried again"
