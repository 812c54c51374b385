"""The stage on six made images; the formulas are test_ncut.py's."""

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
from stages.boxes.boxes import pseudo_boxes
from stages.ncut.ncut import DEGENERATE, cuts, score_map
from stages.ncut.options import NcutParams
from stages.ncut.parameters import CutParameters
from stages.ncut.partition import seed_component
from stages.ncut.stage import Ncut
from stages.vision.backbones.build import build
from stages.vision.backbones.registry import tap_path
from stages.vision.backbones.taps import tapped
from stages.vision.batches import to_batch
from stages.vision.box_rule import BoxRule
from stages.vision.components import mask_extent
from stages.vision.images import decode, resize
from stages.vision.inference import ClassifierCache
from stages.vision.model_card import ModelCard
from stages.vision.model_loaders import ModelLoaders
from stages.vision.models import to_blobs
from stages.vision.preprocessing import IMAGENET
from tests import runs
from tests.stages import rooms


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return rooms.write_images(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def models():
    """Backbone -> the blobs of a model: a transformer, and a network of convolutions."""
    return {"vit_tiny_p8": to_blobs(build("vit_tiny_p8", 2), card("vit_tiny_p8")), "smallnet": rooms.classifier()}


def card(backbone):
    """The card of a network of the two made classes."""
    return ModelCard("classify", backbone, ("cat", "dog"), input_size=64, seed=0)


def computed(folder, paths, blobs, **params):
    """Rows of score maps and of quarantine that the stage makes of the images."""
    set_threads(1)
    store = Store(str(folder / "run"))
    given = {
        "images": (store.commit("images", "made", "k", ShardResult({"images": rooms.images_table(paths)})),),
        "model": (store.commit("model", "made", "k", ShardResult({}, blobs)),),
    }
    stage = Ncut("cut", NcutParams(**params), ModelLoaders())
    found: list[Done] = []
    task = Task(Shard("k", rows_from="images"), given)
    InProcessRunner().run(Job(stage, "r", [task], store, StageResources()), found.append)
    tables = found[0].tables
    return [store.table(found[0], name).to_pylist() if name in tables else [] for name in ("score_maps", "quarantine")]


def expected(paths, blobs, tap, parameters, size=64):
    """The cuts of all images in one batch, without the stage."""
    network = ClassifierCache("cpu", ModelLoaders()).get("k", blobs.__getitem__).network
    pixels = to_batch([resize(decode(path.read_bytes()), size) for path in paths], IMAGENET)
    with torch.inference_mode(), tapped(network, tap_path(network.backbone, tap)) as layer:
        network.features(pixels)
    return cuts(layer.output.contiguous().numpy(), parameters)


@pytest.mark.parametrize(
    ("backbone", "tap", "used", "size", "tau"),
    [
        ("vit_tiny_p8", None, "keys", 64, 0.6),
        ("vit_tiny_p8", "features", "features", 96, 0.5),
        ("smallnet", None, "layer3", 96, 0.99),
        ("smallnet", "layer2", "layer2", 32, 0.99),
    ],
)
def test_a_row_is_the_cut_of_its_image(tmp_path, paths, models, backbone, tap, used, size, tau):
    """Breaks when a row gets another image's map or another layer's, or the map is transposed; on any network."""
    found, bad = computed(tmp_path, paths, models[backbone], tap=tap, input_size=size, tau=tau)
    made = expected(paths, models[backbone], used, CutParameters(tau), size)
    assert bad == []
    assert any(of_image.seed is not None for of_image in made)
    for number, (row, of_image) in enumerate(zip(found, made, strict=True)):
        side = of_image.foreground.shape[0]
        assert (row["image_id"], row["label"], row["method"]) == (str(number), number % 2, "ncut")
        assert (row["height"], row["width"], row["tap"], row["input_size"]) == (side, side, used, size)
        assert (row["backbone"], row["image_height"], row["flag"]) == (backbone, rooms.SIDE, of_image.flag)
        np.testing.assert_allclose(np.reshape(row["map"], (side, side)), score_map(of_image), atol=1e-3)


def test_tokencuts_box_is_that_of_threshold_0(tmp_path, paths, models):
    """Breaks when stage boxes, at threshold 0 on the grid, no longer gives TokenCut's box of the seed's component."""
    found, _ = computed(tmp_path, paths, models["vit_tiny_p8"], tau=0.6, component="seed")
    made = expected(paths, models["vit_tiny_p8"], "keys", CutParameters(0.6))
    rule = BoxRule(kind="absolute", frame="grid")
    cut = [(row, of_image) for row, of_image in zip(found, made, strict=True) if of_image.seed is not None]
    assert cut
    for row, of_image in cut:
        values = np.reshape(row["map"], (row["height"], row["width"])).astype(np.float32)
        component = seed_component(of_image.foreground, of_image.seed)
        box = mask_extent(component) * (rooms.SIDE // row["width"])
        (theirs,) = pseudo_boxes(values, rooms.SIDE, rooms.SIDE, rule, 0.0).boxes
        np.testing.assert_array_equal(theirs[:4], box)


def test_an_image_that_cannot_be_cut_is_flagged(tmp_path, paths, models):
    """Breaks when a graph in which all tokens are joined stops the shard, or its flat map looks ordinary."""
    found, bad = computed(tmp_path, paths, models["vit_tiny_p8"], tau=-1.0)
    assert bad == []
    assert {row["flag"] for row in found} == {DEGENERATE}
    assert not any(np.any(row["map"]) for row in found)


def test_batch_size_and_decoding_threads_change_no_map(tmp_path, paths, models):
    """Breaks when a resource parameter changes results beyond the last bits of half precision."""
    one, _ = computed(tmp_path / "one", paths, models["vit_tiny_p8"], tau=0.6)
    other, _ = computed(tmp_path / "other", paths, models["vit_tiny_p8"], tau=0.6, batch_size=1, decode_ahead=2)
    for row, again in zip(one, other, strict=True):
        np.testing.assert_allclose(row["map"], again["map"], atol=2e-3)


def test_a_bad_image_goes_to_quarantine(tmp_path, paths, models):
    """Breaks when one broken file stops the shard, or shifts the maps of its neighbours."""
    broken = tmp_path / "broken.ppm"
    broken.write_bytes(b"P6 32 32 255\n")
    found, bad = computed(tmp_path, [*paths[:2], broken, *paths[3:]], models["vit_tiny_p8"], tau=0.6, batch_size=2)
    everything, _ = computed(tmp_path / "whole", paths, models["vit_tiny_p8"], tau=0.6)
    assert [(row["image_id"], row["stage"]) for row in bad] == [("2", "cut")]
    assert [row["image_id"] for row in found] == ["0", "1", "3", "4", "5"]
    for row in found:
        np.testing.assert_allclose(row["map"], everything[int(row["image_id"])]["map"], atol=2e-3)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"tau": 1.5}, r"tau must be in \[-1, 1\)"),
        ({"epsilon": 0.0}, "epsilon must be in "),
        ({"graph": "hard"}, "graph must be one of"),
        ({"component": "largest"}, "component must be one of"),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(params, said):
    """Breaks when a typing error is found by a worker, after the training."""
    with pytest.raises(UsageError, match=f"stage cut: {said}"):
        Ncut("cut", NcutParams(**params), ModelLoaders()).check()


def test_what_does_not_fit_is_one_clear_line(tmp_path, paths, models):
    """Breaks when an unknown layer, or a side that is no multiple of the patch, is retried as if it were a crash."""
    with pytest.raises(UsageError, match="stage cut: unknown tap of smallnet 'keys'"):
        computed(tmp_path / "one", paths, models["smallnet"], tap="keys")


def test_an_image_whose_features_are_no_numbers_is_quarantined(tmp_path, paths):
    """Breaks when one image that overflows half precision ends a stage of a million."""
    network = build("smallnet", 2)
    with torch.no_grad():
        next(network.features.parameters()).fill_(float("nan"))
    maps, refused = computed(tmp_path, paths, to_blobs(network, card("smallnet")))
    assert maps == []
    assert len(refused) == len(paths)
    assert "features hold a NaN" in refused[0]["reason"]


def test_cuts_of_an_untrained_transformer_go_through_a_run(run_copy):
    """Breaks when sweep, calibrate, boxes or evaluate cannot use maps of no class."""
    run_copy["stages"] = {
        "classify": {"backbone": "vit_tiny_p8", "epochs": 0, "refit": "never"},
        "ncut": {"tau": 0.6},
        "sweep": {"maps": "ncut"},
        "calibrate": {"counts": "sweep"},
        "boxes": {"maps": "ncut", "thresholds": "calibrate"},
        "evaluate": {"labels": ["boxes"], "counts": ["sweep"], "splits": ["test"]},
    }
    target = runs.target_of(run_copy)
    runs.execute(target)
    maps = runs.rows(target, "ncut", "score_maps")
    assert len(maps) == runs.TRAIN + runs.TEST
    assert {row["tap"] for row in maps} == {"keys"}
    metrics = {row["metric"] for row in runs.rows(target, "evaluate", "metrics") if row["method"] == "ncut"}
    assert {"gt_known", "max_box_acc"} <= metrics
