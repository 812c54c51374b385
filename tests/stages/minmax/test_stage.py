"""The stage on six made images; the formulas are test_regularisation.py's."""

import json
from dataclasses import replace

import pytest
import torch

from pipeline.base.errors import UsageError
from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.running.in_process import InProcessRunner
from pipeline.store.records import Shard, Task
from pipeline.training.loop import train
from stages.minmax.options import MinmaxParams
from stages.minmax.parameters import TRAININGS
from stages.vision.backbones.networks import conv_head
from stages.vision.model_card import CARD, WEIGHTS
from tests import runs
from tests.stages import localizers, rooms

TINY = {"epochs": 3, "classes": 2, "set_size": 2, "learning_rate": 0.01}
PLAIN = {"common_weight": 0.0, "full_weight": 0.0}


@pytest.fixture
def made(tmp_path):
    return localizers.Made(tmp_path)


def test_the_result_is_a_classifier_of_its_own_method(made):
    """Breaks when stage cam or localize could not build the network again, or would call it the plain one's."""
    result = made.fit("minmax", **TINY, seed=3)
    before, after = json.loads(rooms.classifier()[CARD]), localizers.card(result)
    changed = {"method": "minmax", "seed": 3, "about": {"start": "classify"}, "weights_hash": after["weights_hash"]}
    assert after == {**before, **changed}
    assert [row["images"] for row in result.tables["training"].to_pylist()] == [4, 4, 4]


def test_without_weight_it_is_a_plain_training_to_the_bit(made):
    """Breaks when stage II decays weights, moves statistics, draws random numbers or leaves the eval mode on."""
    assert localizers.same_as_plain(made, "minmax", **{**TINY, "classes": 1}, **PLAIN)
    assert not localizers.same_as_plain(made, "minmax", **TINY, common_weight=10.0, full_weight=0.0)
    assert not localizers.same_as_plain(made, "minmax", **TINY, common_weight=0.0, full_weight=10.0)


@pytest.mark.parametrize("head", [False, True])
def test_the_second_step_moves_the_classifiers_weight_alone(made, head):
    """Breaks when stage II's momentum or decay reaches the backbone, its statistics, the head or the bias."""
    states = []
    for weights in ({"common_weight": 10.0, "full_weight": 10.0}, PLAIN):
        network = localizers.network()
        if head:
            torch.manual_seed(0)
            network.head = conv_head(64, 64)
        params = {**TINY, "epochs": 1, **weights}
        train(made.training("minmax", network, **params), made.context())
        states.append(network.state_dict())
    one, other = states
    assert [name for name in one if not torch.equal(one[name], other[name])] == ["classifier.weight"]


@pytest.mark.parametrize("cut_after", [1, 2])
def test_a_resumed_training_reaches_the_same_bits(made, cut_after):
    """Breaks when the second optimizer's momentum or schedule is not in the checkpoint."""
    params = {**TINY, "common_weight": 10.0, "full_weight": 10.0, "schedule": "one_cycle"}
    whole, again, context = localizers.resumed(made, "minmax", cut_after, **params)
    assert again.blobs == whole.blobs
    assert context.saved == 3
    assert len(context.load()["further"]) == 1


@pytest.mark.long
def test_two_ranks_agree(tmp_path):
    """Breaks when stage II's gradient is not averaged: the ranks' classifiers would part."""
    one, other = localizers.on_two_ranks(tmp_path, "minmax", **TINY, common_weight=10.0, full_weight=10.0)
    for name in ("classifier.weight", "classifier.bias", "features.stem.0.weight"):
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize(
    ("preset", "shape"), [("mobilenet_v2", (1, 1, 12)), ("vgg16", (1, 10, 12)), ("resnet50", (1, 1, 10))]
)
def test_presets(preset, shape):
    """Breaks when a preset loses the values of the paper's backbone."""
    found = TRAININGS[preset]
    assert (found.common_weight, found.full_weight, found.classes) == shape


@pytest.mark.parametrize(
    ("backbone", "preset"),
    [
        ("vgg16_cam", "vgg16"),
        ("resnet50_s8", "resnet50"),
        ("mobilenet_v2_s8", "mobilenet_v2"),
        ("timm:mobilenetv1_100@8", "mobilenet_v2"),
        ("timm:vgg16_bn", "vgg16"),
        ("timm:repvgg_a2", "mobilenet_v2"),
    ],
)
def test_the_preset_follows_the_classifier(backbone, preset):
    """Breaks when a VGG is trained with MobileNet's weights because nobody named a preset, or a given value is lost."""
    assert MinmaxParams().training(backbone) == TRAININGS[preset]
    assert MinmaxParams(preset="resnet50").training(backbone) == TRAININGS["resnet50"]
    assert MinmaxParams(full_weight=0.0).training(backbone) == replace(TRAININGS[preset], full_weight=0.0)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"preset": "alexnet"}, "preset must be one of"),
        ({"set_size": 1}, "set_size must be at least 2"),
        ({"scale": "max"}, "scale must be one of mean, sum"),
        ({"common_weight": -1.0}, "common_weight must be at least 0"),
        ({"drops": (0.0,)}, "drops must lie between 0 and 1"),
    ],
)
def test_bad_parameters_are_one_clear_line(params, said):
    """Breaks when a mistake in a config is found after the classifier was trained."""
    with pytest.raises(UsageError, match=f"stage minmax: {said}"):
        localizers.stage_of("minmax", **params).check()
    localizers.stage_of("minmax").check()


def test_more_workers_than_classes_are_one_clear_line(made):
    """Breaks when a class would have to be split over workers."""
    context = made.context()
    context.world_size = 3
    with pytest.raises(
        UsageError, match="stage minmax: a step of 2 class sets of 2 images cannot be shared out to 3 workers"
    ):
        made.fit("minmax", context, **TINY)


def test_a_micro_batch_below_a_class_set_is_one_clear_line(made):
    """Breaks when a class set is torn apart by a setting of the machines, or that setting does not arrive."""
    task = Task(Shard("k"), {"images": (made.images,), "model": (made.model,)})
    stage, resources = localizers.stage_of("minmax", **TINY), StageResources(micro_batch=1)
    with pytest.raises(
        UsageError, match="stage minmax: a step of 2 class sets of 2 images cannot be cut at micro_batch"
    ):
        InProcessRunner().run(Job(stage, "r", [task], made.store, resources), lambda done: None)


def test_its_maps_are_evaluated_under_its_name(run_copy):
    """Breaks when cam, localize or evaluate cannot use the artifact, or report it as cam."""
    target = localizers.chained(run_copy, "minmax", epochs=1, set_size=2, learning_rate=0.001)
    assert {row["method"] for row in runs.rows(target, "maps", "score_maps")} == {"minmax"}
    metrics = {row["metric"] for row in runs.rows(target, "evaluate", "metrics") if row["method"] == "minmax"}
    assert {"gt_known", "max_box_acc", "top1_loc"} <= metrics


def test_intensity_changes_the_first_step_alone(made):
    """Breaks when section 4.4's augmentation does nothing, or changes a training that did not ask for it."""
    assert localizers.same_as_plain(made, "minmax", **{**TINY, "classes": 1}, **PLAIN, intensity=0.0)
    plain, changed = (made.fit("minmax", **TINY, **PLAIN, intensity=largest) for largest in (0.0, 0.5))
    assert plain.blobs[WEIGHTS] != changed.blobs[WEIGHTS]


def test_layers_may_train_at_the_rate_of_the_head(made):
    """Breaks when a layer that counts as head keeps the rate of the body, or an unknown one is taken."""
    network = localizers.network()
    body, head = network.trained_parameters(("layer3",))
    assert {name.split(".")[1] for name, _ in head if name.startswith("features")} == {"layer3"}
    assert not any(name.startswith("features.layer3") for name, _ in body)
    assert len(body) + len(head) == len(list(network.parameters()))
    with pytest.raises(UsageError, match="unknown tap of smallnet 'layer9'"):
        made.fit("minmax", **TINY, head_taps=("layer9",))
