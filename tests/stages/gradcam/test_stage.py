"""The stage on six made images; the formulas are test_maps.py's."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.base.errors import UsageError
from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.running.in_process import InProcessRunner
from pipeline.store.records import Done, Shard, ShardResult, Task
from pipeline.store.store import Store
from pipeline.worker.device import set_threads
from stages.gradcam.maps import gradient_maps
from stages.gradcam.options import METHODS, GradcamParams
from stages.gradcam.stage import Gradcam
from stages.vision.backbones.registry import tap_path
from stages.vision.backbones.smallnet import SmallNet
from stages.vision.batches import to_batch
from stages.vision.images import decode, resize
from stages.vision.inference import ClassifierCache
from stages.vision.model_loaders import ModelLoaders
from stages.vision.preprocessing import IMAGENET
from tests.stages import rooms

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return rooms.write_images(tmp_path_factory.mktemp("made"))


def computed(folder, paths, **params):
    """Rows of score maps and of quarantine that the stage makes of the images."""
    set_threads(1)
    store = Store(str(folder / "run"))
    given = {
        "images": (store.commit("images", "made", "k", ShardResult({"images": rooms.images_table(paths)})),),
        "model": (store.commit("model", "made", "k", ShardResult({}, rooms.classifier())),),
    }
    stage = Gradcam("maps", GradcamParams(**params), ModelLoaders())
    found: list[Done] = []
    task = Task(Shard("k", rows_from="images"), given)
    InProcessRunner().run(Job(stage, "r", [task], store, StageResources()), found.append)
    tables = found[0].tables
    return [store.table(found[0], name).to_pylist() if name in tables else [] for name in ("score_maps", "quarantine")]


def expected(paths, size=64, tap=None, method="gradcam", labels=None):
    """The maps and classes of all images in one batch, without the stage."""
    network = ClassifierCache("cpu", ModelLoaders()).get("k", rooms.classifier().__getitem__).network
    pixels = to_batch([resize(decode(path.read_bytes()), size) for path in paths], IMAGENET)
    labels = None if labels is None else torch.tensor(labels)
    return gradient_maps(network, tap_path("smallnet", tap), pixels, method, labels)


@pytest.mark.parametrize("method", METHODS)
def test_a_row_is_the_map_of_its_image(tmp_path, paths, method):
    """Breaks when a row gets another image's map or another class's or layer's, or the map is transposed or resized."""
    found, bad = computed(tmp_path, paths, method=method, tap="layer2", input_size=48)
    maps, _ = expected(paths, 48, "layer2", method, [number % 2 for number in range(6)])
    assert bad == []
    for number, row in enumerate(found):
        assert (row["image_id"], row["label"], row["method"]) == (str(number), number % 2, method)
        assert (row["height"], row["width"], row["tap"], row["input_size"]) == (12, 12, "layer2", 48)
        assert (row["backbone"], row["image_height"], row["image_width"]) == ("smallnet", rooms.SIDE, rooms.SIDE)
        np.testing.assert_allclose(np.reshape(row["map"], (12, 12)), maps[number], rtol=1e-3, atol=1e-3 * maps.max())


def test_the_predicted_class_is_mapped_and_named(tmp_path, paths):
    """Breaks when the map of the predicted class comes under the image's own, or the other way round."""
    found, _ = computed(tmp_path, paths, classes="predicted")
    maps, classes = expected(paths)
    assert [row["label"] for row in found] == classes.tolist() != [number % 2 for number in range(6)]
    for row, score_map in zip(found, maps, strict=True):
        np.testing.assert_allclose(row["map"], score_map.ravel(), rtol=1e-3, atol=1e-3 * maps.max())
        assert row["tap"] == "layer3"


def test_batch_size_and_decoding_threads_change_no_map(tmp_path, paths):
    """Breaks when a resource parameter changes results beyond the last bits of half precision."""
    one, _ = computed(tmp_path / "one", paths, method="layercam")
    other, _ = computed(tmp_path / "other", paths, method="layercam", batch_size=4, decode_ahead=2)
    for row, again in zip(one, other, strict=True):
        np.testing.assert_allclose(row["map"], again["map"], rtol=2e-3)


def test_a_bad_image_goes_to_quarantine(tmp_path, paths):
    """Breaks when one broken file stops the shard, or shifts the maps of its neighbours."""
    broken = tmp_path / "broken.ppm"
    broken.write_bytes(b"P6 32 32 255\n")
    found, bad = computed(tmp_path, [*paths[:2], broken, *paths[3:]], batch_size=2)
    everything, _ = computed(tmp_path / "whole", paths)
    assert [(row["image_id"], row["stage"]) for row in bad] == [("2", "maps")]
    assert [row["image_id"] for row in found] == ["0", "1", "3", "4", "5"]
    for row in found:
        np.testing.assert_allclose(row["map"], everything[int(row["image_id"])]["map"], rtol=2e-3)


@pytest.mark.parametrize(
    ("params", "said"),
    [({"method": "gradcamm"}, "method must be one of"), ({"classes": "all"}, "classes must be one of")],
)
def test_bad_parameters_are_refused_before_anything_runs(params, said):
    """Breaks when a typing error is found by a worker, after the training."""
    with pytest.raises(UsageError, match=said):
        Gradcam("maps", GradcamParams(**params), ModelLoaders()).check()


def test_a_tap_that_the_network_does_not_have_is_one_clear_line(tmp_path, paths):
    """Breaks when a typing error in the tap is retried as if it were a crash."""
    with pytest.raises(UsageError, match="stage maps: unknown tap of smallnet 'layer9'"):
        computed(tmp_path, paths, tap="layer9")


def test_a_tap_that_the_classes_do_not_depend_on_is_one_clear_line(tmp_path, paths, monkeypatch):
    """Breaks when a network whose features are not on the way to its classes (a class token) gives maps of zeros."""
    monkeypatch.setattr(SmallNet, "forward", lambda network, images: network.classifier(torch.ones(len(images), 64)))
    with pytest.raises(UsageError, match="stage maps: tap features.layer2 of smallnet: the logits do not depend on it"):
        computed(tmp_path, paths, tap="layer2")


PROGRAM = """
import sys
sys.modules["pytorch_grad_cam"] = None
from pipeline.base.errors import UsageError
from stages import catalog
stage = catalog.create("gradcam", "maps", catalog.params_type("gradcam")())
for ask in (lambda: stage.check_packages(), lambda: stage.worker(None)):
    try:
        ask()
    except UsageError as error:
        print(error)
"""


def test_without_the_package_the_catalog_loads_and_the_stage_says_what_to_install():
    """Breaks when importing the catalog imports the package, or its absence is a traceback."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=ROOT, timeout=250)
    assert done.returncode == 0, done.stderr
    line = "stage maps: the package grad-cam is not installed: pip install 'weakbox[gradcam]'"
    assert done.stdout.splitlines() == [line, line]
