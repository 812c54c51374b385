"""The stage on six made images; the formulas are test_scg.py's."""

import numpy as np
import pytest
import torch

from pipeline.base.errors import UsageError
from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.running.in_process import InProcessRunner
from pipeline.store.records import Done, Recipe, Shard, ShardResult, Task, Upstream
from pipeline.store.store import Store
from pipeline.worker.device import set_threads
from schemas import TABLES
from stages.scg.options import ScgStageParams
from stages.scg.parameters import PRESETS, ScgParameters
from stages.scg.scg import refine, unit_cams
from stages.scg.stage import Scg
from stages.scg.taps import shared_grid
from stages.vision.backbones.build import build
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.batches import to_batch
from stages.vision.features import read_taps
from stages.vision.images import decode, resize
from stages.vision.inference import ClassifierCache
from stages.vision.model_loaders import ModelLoaders
from stages.vision.preprocessing import IMAGENET
from tests import runs
from tests.stages import rooms


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return rooms.write_images(tmp_path_factory.mktemp("made"))


def computed(folder, paths, maps=None, **params):
    """Rows of score maps and of quarantine that the stage makes of the maps."""
    set_threads(1)
    store = Store(str(folder / "run"))
    tables = {"images": rooms.images_table(paths), "score_maps": rooms.maps_table() if maps is None else maps}
    given = {
        "images": (store.commit("images", "made", "k", ShardResult({"images": tables["images"]})),),
        "maps": (store.commit("maps", "made", "k", ShardResult({"score_maps": tables["score_maps"]})),),
        "model": (store.commit("model", "made", "k", ShardResult({}, rooms.classifier())),),
    }
    stage = Scg("refined", ScgStageParams(maps="maps", **params), ModelLoaders())
    found: list[Done] = []
    task = Task(Shard("k", rows_from=None if "splits" in params else "maps"), given)
    InProcessRunner().run(Job(stage, "r", [task], store, StageResources()), found.append)
    made = found[0].tables
    return [store.table(found[0], name).to_pylist() if name in made else [] for name in ("score_maps", "quarantine")]


def expected(paths, taps, parameters, size=64):
    """The refined maps of all images in one batch, without the stage."""
    network = ClassifierCache("cpu", ModelLoaders()).get("k", rooms.classifier().__getitem__).network
    with torch.inference_mode():
        features = read_taps(
            network, taps, to_batch([resize(decode(path.read_bytes()), size) for path in paths], IMAGENET)
        )
    rows = rooms.maps_table().to_pylist()
    maps = np.stack([np.reshape(row["map"], (1, 8, 8)) for row in rows]).astype(np.float32)
    return refine(features, unit_cams(torch.from_numpy(maps)), parameters)[:, 0].numpy()


@pytest.mark.parametrize("taps", [("layer3",), ("layer1", "stem")])
def test_a_row_is_the_refined_map_of_its_image(tmp_path, paths, taps, monkeypatch):
    """Breaks when a row gets another image's map or features, or the wrong layers; or loses where it comes from."""
    monkeypatch.setattr(LocalizerNetwork, "tap_path", lambda network, tap: f"features.{tap}")
    found, bad = computed(tmp_path, paths, taps=taps, input_size=32, theta1=0.3, batch_size=4)
    maps = expected(paths, taps, ScgParameters(theta1=0.3), 32)
    assert bad == []
    side = maps.shape[-1]
    for number, row in enumerate(found):
        assert (row["image_id"], row["label"], row["method"]) == (str(number), number % 2, "cam_scg")
        assert (row["height"], row["width"], row["tap"], row["input_size"]) == (side, side, "+".join(taps), 32)
        assert (row["backbone"], row["image_height"], row["flag"]) == ("smallnet", rooms.SIDE, None)
        np.testing.assert_allclose(np.reshape(row["map"], (side, side)), maps[number], atol=2e-3)
    assert np.ptp(maps, axis=(1, 2)).min() > 0.5


def test_maps_of_any_size_are_refined_together(tmp_path, paths):
    """Breaks when maps of one batch must have one size, as those of DDT on images of any size have not."""
    maps = rooms.maps_table().to_pylist()
    maps[1] = {**maps[1], "height": 4, "width": 2, "map": np.arange(8, dtype=np.float16)}
    found, _ = computed(tmp_path, paths, TABLES["score_maps"].from_rows(maps))
    assert [(row["image_id"], row["height"], row["width"]) for row in found] == [(str(n), 8, 8) for n in range(6)]


def test_a_bad_image_goes_to_quarantine_and_a_flag_is_kept(tmp_path, paths):
    """Breaks when one broken file stops the shard or shifts its neighbours' maps, or a fallback map looks ordinary."""
    broken = tmp_path / "broken.ppm"
    broken.write_bytes(b"P6 32 32 255\n")
    maps = rooms.maps_table().to_pylist()
    maps[4]["flag"] = "degenerate_class"
    found, bad = computed(tmp_path, [*paths[:2], broken, *paths[3:]], TABLES["score_maps"].from_rows(maps))
    everything, _ = computed(tmp_path / "whole", paths)
    assert [(row["image_id"], row["stage"]) for row in bad] == [("2", "refined")]
    assert [row["image_id"] for row in found] == ["0", "1", "3", "4", "5"]
    assert [row["flag"] for row in found] == [None, None, None, "degenerate_class", None]
    for row in found:
        np.testing.assert_allclose(row["map"], everything[int(row["image_id"])]["map"], atol=2e-3)


@pytest.mark.parametrize(
    ("name", "size", "taps"),
    [
        ("vgg16_acol", 32, ("pool4", "relu5_3")),
        ("vgg16_acol28", 32, ("pool4", "relu5_3")),
        ("inception_v3_spg", 96, ("mixed_5d", "mixed_6e")),
        ("resnet50_s8", 32, ("layer4", "layer3")),
        ("resnet50", 64, ("layer4",)),
        ("smallnet", 64, ("layer3",)),
    ],
)
def test_default_taps_share_a_grid(name, size, taps):
    """Breaks when the default is not SPA's stages 4 and 5 where it has them, or pairs layers of different grids."""
    assert shared_grid(build(name, 2).eval(), size) == taps


def test_maps_of_other_splits_are_left_out(tmp_path, paths):
    """Breaks when maps that nobody asked for are refined too, or one of those asked for is lost."""
    whole, _ = computed(tmp_path / "whole", paths)
    found, _ = computed(tmp_path / "some", paths, splits=("dev", "test"))
    assert found == [row for row in whole if row["split"] in ("dev", "test")]
    assert 0 < len(found) < len(whole)


def test_presets_fill_what_is_null():
    """Breaks when a preset is not SPA's script, overrides what was given, or VGG's formula runs on an Inception."""
    assert ScgStageParams().settings("vgg16_acol") == PRESETS["cub"]
    assert ScgStageParams(preset="ilsvrc").settings("vgg16_acol28") == PRESETS["ilsvrc"]
    own = ScgStageParams(order=1, delta_h=0.3, omega=0.0).settings("resnet50")
    assert own == ScgParameters(order=1, delta_h=0.3, omega=0.0)
    for name in ("cub", "ilsvrc"):
        inception = ScgStageParams(preset=name, delta_h=0.3).settings("inception_v3_spg")
        assert inception == ScgParameters(0.0, 0.0, 1.0, delta_h=0.3, normalisation="paper")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"preset": "coco"}, "preset must be one of"),
        ({"delta_l": 0.9}, "delta_l must not exceed delta_h"),
        ({"order": 0}, "order must be at least 1"),
        ({"normalisation": "softmax"}, "normalisation must be one of"),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(params, said):
    """Breaks when a typing error is found by a worker, after the training."""
    with pytest.raises(UsageError, match=f"stage refined: {said}"):
        Scg("refined", ScgStageParams(**params), ModelLoaders()).check()


def test_taps_that_do_not_fit_are_one_clear_line(tmp_path, paths):
    """Breaks when layers of different grids, or an unknown one, are retried as if it were a crash."""
    with pytest.raises(UsageError, match="stage refined: unknown tap of smallnet 'layer9'"):
        computed(tmp_path / "one", paths, taps=("layer9",))
    with pytest.raises(UsageError, match="stage refined: features must be .* with the same B, h, w"):
        computed(tmp_path / "two", paths, taps=("layer3", "layer2"))


def upstream(name, shards):
    return Upstream(name, Recipe(name, 1, {}), shards)


def test_a_shard_reads_the_images_behind_its_maps():
    """Breaks when a shard of maps decodes, or waits for, the images of all others; or a map's image is left out."""
    images = upstream("ingest", [Shard("a"), Shard("b")])
    maps = [Shard(key, {"images": (ref,)}, rows=3) for key, ref in zip("xy", images.refs(), strict=True)]
    unknown = Shard("z", rows=3)
    inputs = {
        "images": (images,),
        "maps": (upstream("cam", [*maps, unknown]),),
        "model": (upstream("classify", [Shard("n")]),),
    }
    shards = Scg("scg", ScgStageParams(), ModelLoaders()).plan("r", inputs)
    assert [[ref.key for ref in shard.inputs["images"]] for shard in shards] == [["a"], ["b"], ["a", "b"]]
    assert [[ref.key for ref in shard.inputs["maps"]] for shard in shards] == [["x"], ["y"], ["z"]]
    assert [(shard.rows, shard.rows_from) for shard in shards] == [(3, "maps")] * 3


def test_refined_maps_are_evaluated_and_refined_again(run_copy, finished_run):
    """Breaks when sweep, boxes or evaluate cannot use the maps of a class by class method, or mix them with theirs."""
    run_copy["stages"] = {
        **{name: runs.STAGES[name] for name in ("classify", "ddt")},
        "scg": {"maps": "ddt"},
        "twice": {"stage": "scg", "maps": "scg"},
        "sweep": {"maps": "scg"},
        "calibrate": {"counts": "sweep"},
        "boxes": {"maps": "scg", "thresholds": "calibrate"},
        "evaluate": {"labels": ["boxes"], "counts": ["sweep"], "splits": ["test"]},
    }
    target = runs.target_of(run_copy)
    runs.execute(target)
    assert {row["method"] for row in runs.rows(target, "twice", "score_maps")} == {"ddt_scg_scg"}
    metrics = {row["metric"] for row in runs.rows(target, "evaluate", "metrics") if row["method"] == "ddt_scg"}
    assert {"gt_known", "max_box_acc"} <= metrics
    maps, ddt = runs.rows(target, "scg", "score_maps"), runs.rows(target, "ddt", "score_maps")
    assert sorted(row["image_id"] for row in maps) == sorted(row["image_id"] for row in ddt)
