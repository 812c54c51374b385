"""The stages `arm` and `sgrm` on six made images; the formulas are those of test_arm.py and test_sgrm.py."""

import math

import numpy as np
import pytest
import torch

from pipeline.base.errors import UsageError
from pipeline.base.hashing import seed_from
from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.running.in_process import InProcessRunner
from pipeline.store.records import Done, Recipe, Shard, ShardResult, Task, Upstream
from pipeline.store.store import Store
from pipeline.upkeep.verify import verify
from pipeline.worker.device import set_threads
from schemas import TABLES
from stages.arm import arm as arm_maths
from stages.arm.options import ArmStageParams
from stages.arm.stage import Arm
from stages.sgrm.options import SgrmStageParams
from stages.sgrm.parameters import PRESETS, SgrmParameters, SuperpixelParameters
from stages.sgrm.sgrm import predict
from stages.sgrm.stage import Sgrm
from stages.sgrm.superpixels import superpixels
from stages.vision.image_rows import is_of_predicted
from stages.vision.images import decode
from tests import runs
from tests.stages import rooms

KINDS = {"arm": (Arm, ArmStageParams), "sgrm": (Sgrm, SgrmStageParams)}
SMALL = {"size": rooms.SIDE}
QUICK = {"arm": {"iterations": 5}, "sgrm": {"iterations": 6, "min_iterations": 3, "channels": 4, "min_size": 8}}
both_stages = pytest.mark.parametrize("kind", list(KINDS))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return rooms.write_images(tmp_path_factory.mktemp("made"))


def computed(kind, folder, paths, maps=None, seeds=None, **params):
    """Rows of score maps and of quarantine that the stage makes of the maps."""
    set_threads(1)
    store = Store(str(folder / "run"))

    def given(stage, table, rows):
        return (store.commit(stage, "made", "k", ShardResult({table: rows})),)

    inputs = {
        "images": given("images", "images", rooms.images_table(paths)),
        "maps": given("maps", "score_maps", rooms.maps_table() if maps is None else maps),
        "seeds": () if seeds is None else given("seeds", "score_maps", seeds),
    }
    made, of = KINDS[kind]
    stage = made("refined", of(maps="maps", seeds=seeds and "seeds", **{**SMALL, **QUICK[kind], **params}))
    found: list[Done] = []
    task = Task(Shard("k", rows_from=None if "splits" in params else "maps"), inputs)
    InProcessRunner().run(Job(stage, "r", [task], store, StageResources()), found.append)
    tables = found[0].tables
    return [store.table(found[0], name).to_pylist() if name in tables else [] for name in ("score_maps", "quarantine")]


def square(row):
    return np.reshape(row["map"], (row["height"], row["width"])).astype(np.float32)


def pixels_of(paths):
    return np.stack([decode(path.read_bytes()) for path in paths])


def given_maps():
    return torch.from_numpy(np.stack([square(row) for row in rooms.maps_table().to_pylist()]))


@pytest.mark.parametrize("batch_size", [4, 16])
def test_a_row_of_arm_is_the_refined_map_of_its_image(tmp_path, paths, batch_size):
    """Breaks when a row gets another image's map or pixels, loses where it comes from, or depends on its batch."""
    found, bad = computed("arm", tmp_path, paths, batch_size=batch_size)
    planes = torch.from_numpy(pixels_of(paths)).permute(0, 3, 1, 2).float()
    expected = arm_maths.refine(planes, given_maps(), arm_maths.ArmParameters(iterations=5))
    assert bad == []
    for number, row in enumerate(found):
        assert (row["image_id"], row["label"], row["method"], row["flag"]) == (str(number), number % 2, "cam_arm", None)
        assert (row["backbone"], row["tap"], row["input_size"], row["weights_hash"]) == ("made", "features", 64, "0")
        np.testing.assert_allclose(square(row), expected[number], atol=2e-3)


def test_a_row_of_sgrm_is_the_mask_of_its_image(tmp_path, paths):
    """Breaks when an image trains on another's map, superpixels or seed, or its place in the shard decides."""
    found, bad = computed("sgrm", tmp_path, paths, batch_size=4, seed=7)
    parameters = SgrmParameters(iterations=6, min_iterations=3, channels=4)
    images = pixels_of(paths)
    parts = np.stack([superpixels(image, SuperpixelParameters(min_size=8)) for image in images])
    maps = torch.nn.functional.interpolate(given_maps()[:, None], (rooms.SIDE,) * 2, mode="bilinear")[:, 0]
    expected = predict(images, maps, parts, [seed_from(7, str(number)) for number in range(6)], parameters)
    assert bad == []
    assert [row["method"] for row in found] == ["cam_sgrm"] * 6
    for row, mask in zip(found, expected.masks, strict=True):
        np.testing.assert_array_equal(square(row), mask)
    probable, _ = computed("sgrm", tmp_path / "p", paths, seed=7, output="probability", method="lcar")
    assert {row["method"] for row in probable} == {"lcar"}
    for row, values in zip(probable, expected.probabilities, strict=True):
        np.testing.assert_allclose(square(row), values, atol=1e-3)
    other, _ = computed("sgrm", tmp_path / "o", paths, seed=8, output="probability")
    assert not np.allclose(square(other[0]), square(probable[0]), atol=1e-2)


@both_stages
def test_seeds_decide_which_side_is_object(tmp_path, paths, kind):
    """Breaks when seeds of another image decide, or are read where there are none: signs are arbitrary."""
    maps = rooms.maps_table().to_pylist()
    reversed_maps = [{**row, "map": -np.asarray(row["map"])} if n % 2 else row for n, row in enumerate(maps)]
    seeds = [{**row, "method": "class_map"} for row in maps]
    expected, _ = computed(kind, tmp_path / "a", paths)
    table = TABLES["score_maps"].from_rows
    found, _ = computed(kind, tmp_path / "b", paths, table(reversed_maps), table(seeds[::-1]))
    wrong, _ = computed(kind, tmp_path / "c", paths, table(reversed_maps))
    for number, (row, own) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_allclose(square(row), square(own), atol=2e-3)
        assert np.allclose(square(wrong[number]), square(own), atol=0.1) == (number % 2 == 0)
    flat = {**seeds[2], "map": np.ones_like(seeds[2]["map"])}
    missing, _ = computed(kind, tmp_path / "d", paths, table(reversed_maps), table([seeds[1], flat, *seeds[3:]]))
    assert [row["flag"] for row in missing] == ["no_seeds", None, "no_seeds", *[None] * 3]


@both_stages
def test_maps_of_the_predicted_class_stay_so(tmp_path, paths, kind):
    """Breaks when evaluate takes refined maps of the predicted class for the image's own, and scores GT-known."""
    maps = [{**row, "method": "cam_predicted"} for row in rooms.maps_table().to_pylist()]
    for number, (name, method) in enumerate(((None, f"cam_{kind}_predicted"), ("lcar", "lcar_predicted"))):
        found, _ = computed(kind, tmp_path / str(number), paths, TABLES["score_maps"].from_rows(maps), method=name)
        assert {row["method"] for row in found} == {method}
        assert is_of_predicted(method)


@both_stages
def test_a_bad_image_goes_to_quarantine_and_a_flag_is_kept(tmp_path, paths, kind):
    """Breaks when one broken file stops the shard or shifts its neighbours' maps, or a fallback map looks ordinary."""
    broken = tmp_path / "broken.ppm"
    broken.write_bytes(b"P6 32 32 255\n")
    maps = rooms.maps_table().to_pylist()
    maps[4]["flag"] = "degenerate_class"
    found, bad = computed(kind, tmp_path, [*paths[:2], broken, *paths[3:]], TABLES["score_maps"].from_rows(maps))
    everything, _ = computed(kind, tmp_path / "whole", paths)
    assert [(row["image_id"], row["stage"]) for row in bad] == [("2", "refined")]
    assert [row["image_id"] for row in found] == ["0", "1", "3", "4", "5"]
    assert [row["flag"] for row in found] == [None, None, None, "degenerate_class", None]
    for row in found:
        np.testing.assert_allclose(square(row), square(everything[int(row["image_id"])]), atol=2e-3)


@both_stages
def test_maps_of_any_size_and_without_contrast(tmp_path, paths, kind):
    """Breaks when maps of one batch must have one size, or a constant map becomes noise; SGRM says that it is empty."""
    maps = rooms.maps_table().to_pylist()
    maps[1] = {**maps[1], "height": 4, "width": 2, "map": np.arange(8, dtype=np.float16)}
    maps[2] = {**maps[2], "map": np.full(64, 3, dtype=np.float16)}
    found, _ = computed(kind, tmp_path, paths, TABLES["score_maps"].from_rows(maps), size=20)
    assert {(row["height"], row["width"]) for row in found} == {(20, 20)}
    assert not square(found[2]).any()
    assert [row["flag"] for row in found][2] == (None if kind == "arm" else "empty_mask")
    assert all(square(row).any() for n, row in enumerate(found) if n != 2)


def test_presets_fill_what_is_null():
    """Breaks when a preset is not the paper's, or overrides what was given."""
    assert SgrmStageParams().settings() == PRESETS["cub"] == SgrmParameters()
    assert SgrmStageParams(preset="ilsvrc").settings() == SgrmParameters(high2=0.6)
    given = SgrmStageParams(preset="ilsvrc", low1=0.2, high2=0.5, balanced=False, min_iterations=1)
    assert given.settings() == SgrmParameters(low1=0.2, high2=0.5, balanced=False, min_iterations=1)


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        ("arm", {"eta": -0.1}, "eta must be in"),
        ("arm", {"border": "wrap"}, "border must be one of"),
        ("arm", {"dilations": (1, 32)}, "dilations must be below the size, 32 pixels"),
        ("arm", {"size": 4}, "size must be at least 8"),
        ("sgrm", {"preset": "coco"}, "preset must be one of"),
        ("sgrm", {"output": "logit"}, "output must be one of"),
        ("sgrm", {"low1": 0.9}, "low1 must not exceed high1"),
        ("sgrm", {"iterations": 2}, "min_iterations must be in 1 .. iterations"),
        ("sgrm", {"scale": 0.0}, "scale must be above 0"),
        ("sgrm", {"method": "my masks"}, "method 'my masks' is no name"),
        ("arm", {"method": "whole_image"}, "method 'whole_image' has a meaning of its own"),
        ("arm", {"method": "cam_predicted"}, "method 'cam_predicted' has a meaning of its own"),
        ("arm", {"beta": 6.0}, r"beta must be in \[0, 1\)"),
        ("arm", {"beta": math.nan}, r"beta must be in \[0, 1\)"),
        ("arm", {"color_width": math.inf}, "color_width must be above 0, and finite"),
        ("sgrm", {"high1": 7.0}, r"low1 and high1 must be in \[0, 1\]"),
        ("sgrm", {"learning_rate": math.inf}, "learning_rate must be above 0, and finite"),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(kind, params, said):
    """Breaks when a typing error is found by a worker, hours later."""
    made, of = KINDS[kind]
    with pytest.raises(UsageError, match=f"stage refined: {said}"):
        made("refined", of(**{**SMALL, **QUICK[kind], **params})).check()


@both_stages
def test_a_map_without_its_image_is_one_clear_line(tmp_path, paths, kind):
    """Breaks when maps of another data set are dropped in silence."""
    maps = rooms.maps_table().to_pylist()
    maps[3]["image_id"] = "elsewhere"
    with pytest.raises(UsageError, match="stage refined: 'elsewhere' of maps is not in ingest"):
        computed(kind, tmp_path, paths, TABLES["score_maps"].from_rows(maps))


def upstream(name, shards):
    return Upstream(name, Recipe(name, 1, {}), shards)


@both_stages
def test_a_shard_reads_the_seeds_of_its_images_alone(kind):
    """Breaks when a shard reads all seeds of a data set, or misses some where shards are cut differently."""
    made, of = KINDS[kind]
    images = upstream("ingest", [Shard("a"), Shard("b")])
    a, b = images.refs()
    maps = [Shard("x", {"images": (a,)}, rows=3), Shard("y", {"images": (b,)}, rows=3), Shard("z", rows=3)]
    seeds = [Shard("s", {"images": (a,)}), Shard("t", {"images": (a, b)}), Shard("u")]
    inputs = {
        "images": (images,),
        "maps": (upstream("ncut", maps),),
        "seeds": (upstream("cam", seeds),),
    }
    shards = made("refined", of(seeds="cam")).plan("r", inputs)
    assert [[ref.key for ref in shard.inputs["images"]] for shard in shards] == [["a"], ["b"], ["a", "b"]]
    assert [[ref.key for ref in shard.inputs["seeds"]] for shard in shards] == [
        ["s", "t", "u"],
        ["t", "u"],
        ["s", "t", "u"],
    ]
    without = made("refined", of()).plan("r", {**inputs, "seeds": ()})
    assert [shard.inputs["seeds"] for shard in without] == [()] * 3
    assert [(shard.rows, shard.rows_from) for shard in without] == [(3, "maps")] * 3


def test_refined_maps_give_boxes_and_numbers(run_copy, finished_run):
    """Breaks when `refine` of a config does not run, or sweep, boxes or evaluate cannot use what comes out of it."""
    small = {"size": 32, "iterations": 3}
    run_copy["stages"] = {
        **{name: runs.STAGES[name] for name in ("classify", "ddt")},
        "cam": {**(runs.STAGES["cam"] or {}), "refine": [
            {"arm": {**small, "seeds": "ddt"}},
            {"sgrm": {**small, "min_iterations": 2, "channels": 4, "splits": ["test"]}},
        ]},
        "sweep": {"maps": "cam_arm"},
        "calibrate": {"counts": "sweep"},
        "arm_boxes": {"stage": "boxes", "maps": "cam_arm", "thresholds": "calibrate"},
        "sgrm_boxes": {"stage": "boxes", "maps": "cam_arm_sgrm", "threshold": 0.5},
        "evaluate": {"labels": ["arm_boxes", "sgrm_boxes"], "counts": ["sweep"], "splits": ["test"]},
    }  # fmt: skip
    target = runs.target_of(run_copy)
    runs.execute(target)
    found = {(row["method"], row["metric"]) for row in runs.rows(target, "evaluate", "metrics")}
    assert {("cam_arm", "gt_known"), ("cam_arm_sgrm", "gt_known"), ("cam_arm", "max_box_acc")} <= found
    masks = runs.rows(target, "cam_arm_sgrm", "score_maps")
    assert {value for row in masks for value in row["map"]} <= {0.0, 1.0}
    maps = runs.rows(target, "cam", "score_maps")
    assert ids(masks) == ids(row for row in maps if row["split"] == "test")
    assert ids(runs.rows(target, "cam_arm", "score_maps")) == ids(maps)
    assert verify(target.store, target.stages).damage == []


def ids(rows):
    return sorted(row["image_id"] for row in rows)


@both_stages
def test_maps_of_other_splits_are_left_out(tmp_path, paths, kind):
    """Breaks when maps that nobody asked for cost time, or a shard without any fails."""
    maps = rooms.maps_table().to_pylist()
    wanted = [row["image_id"] for row in maps if row["split"] in ("dev", "test")]
    assert 0 < len(wanted) < len(maps)
    whole, _ = computed(kind, tmp_path / "whole", paths)
    found, _ = computed(kind, tmp_path / "some", paths, splits=("dev", "test"))
    assert found == [row for row in whole if row["image_id"] in wanted]
    assert computed(kind, tmp_path / "none", paths, splits=("val",)) == [[], []]
