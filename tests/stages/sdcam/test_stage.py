"""The stage on six made images and a tiny transformer; the formulas are test_distillation.py's."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.base.errors import UsageError
from pipeline.store.records import Shard, ShardResult, Task
from pipeline.training.loop import Training, train
from stages.sdcam.options import SdcamParams
from stages.sdcam.teacher_student import TeacherStudentNetwork
from stages.vision.batches import to_batch
from stages.vision.image_reading import load
from stages.vision.images import resize
from stages.vision.model_card import CARD
from stages.vision.preprocessing import IMAGENET
from tests.stages import localizers
from tests.stages.sdcam import tiny

SHORT: dict[str, Any] = {"epochs": 3, "batch_size": 2, "learning_rate": 2.0, "weight_decay": 0.0}


@pytest.fixture
def made(tmp_path):
    """Six images, and a transformer in place of the classifier."""
    made = localizers.Made(tmp_path)
    made.model = made.store.commit("vit", "made", "k", ShardResult({}, tiny.blobs()))
    return made


@pytest.mark.parametrize(
    ("chosen", "hidden"), [({}, 2), ({"hidden": 7, "precision": "bfloat16"}, 7), ({"preset": "ilsvrc"}, 0)]
)
def test_the_card_tells_the_teachers_form(made, chosen, hidden):
    """Breaks when cam and localize could not build the network again; 2: hidden as wide as what the teacher reads."""
    result = made.fit("sdcam", **{**SHORT, "epochs": 1}, **chosen, seed=3)
    network = tiny.network_of(result.blobs)
    before, after = json.loads(tiny.blobs()[CARD]), localizers.card(result)
    wide = 2 * network.feature_dim if hidden == 2 else hidden
    changed = {"method": "sdcam", "parts": {"teacher_hidden": wide}, "seed": 3, "about": {"start": "classify"}}
    assert after == {**before, **changed, "weights_hash": after["weights_hash"]}
    assert [row["images"] for row in result.tables["training"].to_pylist()] == [4]
    assert len(network.teacher) == (3 if wide else 1)


def test_heads_learn_and_the_transformer_stays(made):
    """Breaks when frozen weights move by a weight decay or a gradient, or when a head is left out of the optimizer."""
    result = made.fit("sdcam", **SHORT, seed=5)
    before = tiny.tensors(TeacherStudentNetwork(tiny.student(), hidden=2 * tiny.student().feature_dim, seed=5))
    after = tiny.tensors(tiny.network_of(result.blobs))
    assert {name for name in before if not before[name].equal(after[name])} == {
        name for name in before if name.startswith(("teacher.", "classifier."))
    }


def test_both_heads_learn_the_classes(made):
    """Breaks when labels are shuffled against images, or the rate never rises: four images are learned by heart."""
    plain = {"crop": 1.0, "mirror": False, "warm_up": 0.1, "weight_decay": 0.0}
    result = made.fit("sdcam", teacher="linear", epochs=60, batch_size=4, learning_rate=100.0, **plain)
    losses = result.tables["training"].column("loss").to_pylist()
    assert losses[-1] < 0.5 * losses[0]
    network = tiny.network_of(result.blobs)
    with torch.inference_mode():
        images = to_batch([resize(load(made.context().read_image, row), 64) for row in made.rows()], IMAGENET)
        labels = [row["label"] for row in made.rows()]
        assert network(images).argmax(dim=1).tolist() == labels
        assert network.classifier(network.pooled(images)).argmax(dim=1).tolist() == labels


def test_the_checkpoint_holds_the_heads_alone(made):
    """Breaks when each checkpoint carries the frozen transformer, or training mode reaches its dropout."""
    network = TeacherStudentNetwork(tiny.student(), hidden=4)
    training = made.training("sdcam", network, **SHORT)
    training.network.train()
    assert {name.split(".")[0] for name in training.network.state_dict()} == {"teacher", "student"}
    assert not any(module.training for module in network.features.modules())


def test_at_alpha_one_the_student_is_a_plain_head_to_the_bit(made):
    """Breaks when the teacher reaches the student's weights, their optimizer or the order of images."""
    one, other = (TeacherStudentNetwork(tiny.student(), hidden=4) for _ in range(2))
    training = made.training("sdcam", one, **SHORT, alpha=1.0)
    train(training, made.context())
    ours = made.training("sdcam", other, **SHORT)
    head = other.classifier
    ours.optimizer.param_groups[0]["params"] = list(head.parameters())

    def entropy(head: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        with torch.no_grad():
            pooled = other.summary(batch[0])[:, other.feature_dim :]
        return nn.functional.cross_entropy(head(pooled), batch[1])

    names = ("batches", "optimizer", "schedule", "epochs", "seed", "images", "micro_batches")
    train(Training(head, entropy, **{name: getattr(ours, name) for name in names}), made.context())
    assert not head.weight.equal(tiny.student().classifier.weight)
    assert localizers.state(one.classifier) == localizers.state(head)


@pytest.mark.parametrize("cut_after", [1, 2])
def test_a_resumed_training_reaches_the_same_bits(made, cut_after):
    """Breaks when the warm-up starts again, or the teacher's weights are not in the checkpoint."""
    whole, again, context = localizers.resumed(made, "sdcam", cut_after, **SHORT)
    assert again.blobs == whole.blobs
    assert again.tables["training"] == whole.tables["training"]
    assert context.saved == 3


def test_the_rate_follows_the_images_in_a_step(made):
    """Breaks when a rate given for 256 images is taken for any batch, or more workers change it."""
    network = TeacherStudentNetwork(tiny.student(), hidden=0)
    for batch, workers in ((64, 1), (128, 2)):
        trainer = localizers.stage_of("sdcam", batch_size=batch, epochs=20).trainer()
        context = SimpleNamespace(rank=0, world_size=workers, micro_batch=None, read_image=None)
        training = trainer.training(network, made.rows(), 64, context)
        assert training.schedule.base_lrs == [pytest.approx(2e-4 * batch / 256)]
        assert 0 < training.optimizer.param_groups[0]["lr"] < training.schedule.base_lrs[0]


def test_presets_fill_what_is_null():
    """Breaks when a preset overrides what was given, or ILSVRC gets CUB's teacher."""
    cub, ilsvrc = SdcamParams(epochs=7).filled(), SdcamParams(preset="ilsvrc").filled()
    assert (cub.teacher, cub.epochs, cub.learning_rate, cub.weight_decay, cub.warm_up) == ("mlp", 7, 2e-4, 0.005, 0.05)
    assert (ilsvrc.teacher, ilsvrc.epochs, ilsvrc.warm_up) == ("linear", 100, 0.0)
    for params in (SdcamParams(), SdcamParams(preset="ilsvrc")):
        assert (params.alpha, params.temperature) == (0.3, 3.0)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"preset": "coco"}, "preset must be one of cub, ilsvrc"),
        ({"alpha": 1.5}, "alpha must be at most 1, not 1.5"),
        ({"temperature": 0.0}, "temperature must be above 0, not 0"),
        ({"warm_up": 1.0}, "warm_up must be at least 0 and below 1, not 1"),
        ({"preset": "ilsvrc", "hidden": 9}, "hidden needs teacher: mlp"),
    ],
)
def test_bad_parameters_are_one_clear_line(params, said):
    """Breaks when a mistake in a config is found after the transformer was loaded, or never."""
    with pytest.raises(UsageError, match=f"stage sdcam: {said}"):
        localizers.stage_of("sdcam", **params).check()
    localizers.stage_of("sdcam").check()


def test_a_network_without_class_token_is_one_clear_line(tmp_path):
    """Breaks when a convolutional classifier ends in a traceback about tokens."""
    with pytest.raises(UsageError, match="stage sdcam: smallnet has no class token: a vision transformer is needed"):
        localizers.Made(tmp_path).fit("sdcam", **SHORT)


def test_cam_maps_the_student_and_localize_names_the_teachers_classes(made):
    """Breaks when maps or predictions of the artifact are those of the other head, or bear another name."""
    result = made.fit("sdcam", **SHORT)
    done = made.store.commit("sdcam", "made", "k", result)
    network = tiny.network_of(result.blobs)
    rows = made.table.to_pylist()
    with torch.no_grad():
        images = to_batch([resize(load(made.context().read_image, row), 64) for row in rows], IMAGENET)
        features, best = network.features(images), network(images).argmax(dim=1)
    weight = network.classifier.weight.detach()
    inputs = {"images": (made.images,), "model": (done,)}
    maps = _worked(made, "cam", inputs).tables["score_maps"].to_pylist()
    assert {row["method"] for row in maps} == {"sdcam"}
    for row, pixels in zip(maps, features, strict=True):
        expected = torch.einsum("khw,k->hw", pixels, weight[row["label"]]).flatten()
        torch.testing.assert_close(torch.tensor(row["map"]).float(), expected, rtol=2e-3, atol=2e-3)
    predicted = _worked(made, "cam", inputs, classes="predicted").tables["score_maps"].to_pylist()
    assert {row["method"] for row in predicted} == {"sdcam_predicted"}
    named = _worked(made, "localize", inputs, splits=("train", "dev", "test")).tables["predictions"].to_pylist()
    assert [row["label"] for row in predicted] == [row["classes"][0] for row in named] == best.tolist()


def _worked(made, kind, inputs, **params):
    stage = localizers.stage_of(kind, **params)
    return stage.worker(made.context())(Task(Shard("k", rows_from="images"), inputs))
