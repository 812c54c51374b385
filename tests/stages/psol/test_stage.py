"""The stage on six made images, and in a tiny run; the formulas are tested beside it."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.base.errors import UsageError
from pipeline.store.records import Shard, ShardResult, Task
from stages.plain_cam.two_branches import TwoBranchNetwork
from stages.psol.options import PsolParams
from stages.vision.backbones.build import build
from stages.vision.backbones.smallnet import SmallNet
from stages.vision.model_card import CARD, WEIGHTS, ModelCard, read_card
from stages.vision.models import to_blobs
from stages.vision.preprocessing import IMAGENET
from tests import runs
from tests.stages import localizers, rooms

TWO = ModelCard("acol", "smallnet", ("cat", "dog"), 64, 0, {"acol_threshold": 0.5})
TINY = {"epochs": 3, "batch_size": 2, "learning_rate": 0.01}


class Made(localizers.Made):
    """Six made images with their pseudo labels."""

    def __init__(self, folder):
        super().__init__(folder)
        self.versions = 0
        self.relabel()

    def relabel(self, **columns):
        """Commit the labels anew, with other values in some columns."""
        rows = [dict(row) for row in rooms.labels_table().to_pylist()]
        for name, values in columns.items():
            for row, value in zip(rows, values, strict=True):
                row[name] = value
        table = pa.Table.from_pylist(rows, schema=rooms.labels_table().schema)
        self.versions += 1
        self.labels = self.store.commit("labels", f"made{self.versions}", "k", ShardResult({"pseudo_labels": table}))

    def fit(self, kind="psol", context=None, model=None, **params):
        inputs = {"images": (self.images,), "model": (model or self.model,), "labels": (self.labels,)}
        return localizers.stage_of(kind, **params).fit(Task(Shard("k"), inputs), context or self.context())


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


def weights(result):
    return {name: tensor.numpy() for name, tensor in rooms.load_weights(result.blobs[WEIGHTS]).items()}


def losses(result):
    return result.tables["training"].column("loss").to_pylist()


def test_the_card_says_what_was_trained(made):
    """Breaks when the predictor could not build the network again, or the card hides what was trained on."""
    counts = {"images": 4, "whole_image": 0, "left_out": {"flagged": 0, "empty": 0, "unlabelled": 0}}
    shared = {"method": "psol", "backbone": "smallnet", "input_size": 64, "seed": 3, "version": 2}
    shared["preprocessing"] = IMAGENET.said()
    shared["about"] = {"labels": "boxes", "quality": "none", **counts}
    sep = localizers.card(made.fit(**TINY, pooling=2, seed=3))
    assert sep.pop("weights_hash")
    assert sep == {**shared, "classes": [], "parts": {"variant": "sep", "pooling": 2}}
    joint = localizers.card(made.fit(**TINY, pooling=2, seed=3, variant="joint"))
    assert joint.pop("weights_hash")
    parts = {"variant": "joint", "pooling": 2}
    assert joint == {**shared, "classes": ["cat", "dog"], "parts": parts}


@pytest.mark.parametrize("variant", ["sep", "joint"])
def test_a_resumed_training_reaches_the_same_bits(made, variant):
    """Breaks when weights, order or rate of a resumed training begin anew."""
    whole, again, context = localizers.resumed(made, "psol", 2, **TINY, variant=variant, preset="reference")
    assert again.blobs == whole.blobs
    assert again.tables["training"] == whole.tables["training"]
    assert context.saved == 3


def test_without_classes_joint_is_sep_to_the_bit(made):
    """Breaks when the two variants differ in anything but the cross-entropy: start, views, rates or loss."""
    same = {**TINY, "schedule": "constant"}
    sep, joint = made.fit(**same), made.fit(**same, variant="joint", class_weight=0.0)
    of_joint = weights(joint)
    assert losses(sep) == losses(joint)
    assert {"network.classifier.weight", "network.classifier.bias"} == of_joint.keys() - weights(sep).keys()
    for name, values in weights(sep).items():
        np.testing.assert_array_equal(of_joint[name], values)


def test_the_losses_of_joint_add_up(made):
    """Breaks when a weight of the loss is not that of its part: seen on the first step, before anything has moved."""
    one = {"epochs": 1, "batch_size": 4, "learning_rate": 0.01, "variant": "joint"}

    def loss(**params):
        return losses(made.fit(**one, **params))[0]

    boxes, classes = loss(loss_weight=1.0, class_weight=0.0), loss(loss_weight=0.0, class_weight=1.0)
    assert boxes > 0
    assert classes > 0
    assert loss() == pytest.approx(50 * boxes + classes, rel=1e-5)
    assert loss(loss_weight=2.0, class_weight=3.0) == pytest.approx(2 * boxes + 3 * classes, rel=1e-5)


def test_without_boxes_joint_trains_the_classifier_alone(made):
    """Breaks when a loss of weight 0 moves the branch: only its weight decay may, and that is off here."""
    start = made.fit(**TINY, variant="joint", loss_weight=0.0, weight_decay=0.0, seed=5)
    longer = made.fit(**{**TINY, "epochs": 4}, variant="joint", loss_weight=0.0, weight_decay=0.0, seed=5)
    one, other = weights(start), weights(longer)
    for name, values in one.items():
        assert np.array_equal(values, other[name]) == name.startswith("branch."), name


def test_unusable_labels_are_left_out_counted_and_told(made, caplog):
    """Breaks when a fallback is trained on, or disappears without a word."""
    boxes = [[{**rooms.box(n), "score": 1.0}] for n in range(6)]
    made.relabel(flag=["empty_mask", *[None] * 5], boxes=[boxes[0], [], *boxes[2:]])
    with caplog.at_level(logging.WARNING, "weakbox.psol"):
        result = made.fit(**TINY)
    about = localizers.card(result)["about"]
    assert (about["images"], about["left_out"]) == (2, {"flagged": 1, "empty": 1, "unlabelled": 0})
    assert "psol: training images without a usable box in boxes: 1 flagged, 1 empty" in caplog.text
    alone = made.fit(**TINY)
    made.relabel(split=["dev", "dev", *["train"] * 2, "dev", "test"])
    unlabelled = made.fit(**TINY)
    assert localizers.card(unlabelled)["about"]["left_out"] == {"flagged": 0, "empty": 0, "unlabelled": 2}
    assert unlabelled.blobs[WEIGHTS] == alone.blobs[WEIGHTS] == result.blobs[WEIGHTS]


def test_quality_weighs_boxes(made):
    """Breaks when a box counts other than in proportion to its quality, or equal qualities change anything."""
    plain = made.fit(**TINY)
    made.relabel(contrast=[0.25] * 6)
    assert made.fit(**TINY, quality="contrast").blobs[WEIGHTS] == plain.blobs[WEIGHTS]
    one = {"epochs": 1, "batch_size": 4, "learning_rate": 0.01}
    parts = []
    for number in range(4):
        made.relabel(contrast=[float(n == number) for n in range(6)])
        parts.append(losses(made.fit(**one, quality="contrast"))[0])
    made.relabel(contrast=[0.0, 0.9, None, 0.3, 0.7, 0.1])
    expected = np.dot(parts, np.array([0.0, 0.9 / 0.4, 1.0, 0.3 / 0.4])) / 4
    assert losses(made.fit(**one, quality="contrast"))[0] == pytest.approx(expected, rel=1e-5)


def test_no_quality_is_one_clear_line(made):
    """Breaks when a column that these labels do not have is silently taken for equal weights."""
    with pytest.raises(UsageError, match="stage psol: contrast of the boxes of boxes as weight: none is known"):
        made.fit(**TINY, quality="contrast")


def test_a_grid_before_other_layers_is_one_clear_line(made, monkeypatch):
    """Breaks when pooling of a network such as VGG16 ends in a traceback."""
    monkeypatch.setattr(SmallNet, "has_cam", False)
    with pytest.raises(UsageError, match="stage psol: the classes of smallnet do not come from averaged features"):
        made.fit(**TINY, pooling=4)


def test_a_model_that_does_not_fit_is_one_clear_line(made):
    """Breaks when a regressor is taken for a classifier, or -Joint trains the layer of other classes."""
    other = made.store.commit("other", "made", "k", ShardResult({}, made.fit(**TINY).blobs))
    with pytest.raises(UsageError, match="stage psol: 'classify' is no classifier"):
        made.fit(model=other, **TINY)
    card = ModelCard("classify", "smallnet", ("ant", "bee", "cat"), 64, 0)
    model = made.store.commit("strange", "made", "k", ShardResult({}, to_blobs(build("smallnet", 3), card)))
    with pytest.raises(UsageError, match="stage psol: image 0 is of class 0, 'cat'; .* number is 'ant'"):
        made.fit(model=model, **TINY, variant="joint")
    assert localizers.card(made.fit(model=model, **TINY))["about"]["images"] == 4
    acol = made.store.commit(
        "two", "made", "k", ShardResult({}, to_blobs(TwoBranchNetwork(build("smallnet", 2), 0.5), TWO))
    )
    with pytest.raises(UsageError, match="stage psol: 'classify' has more parts than a classifier"):
        made.fit(model=acol, **TINY)


def test_presets_fill_what_is_null():
    """Breaks when a preset overrides what was given, or the schedule of noisy boxes falls."""

    def values(**params):
        found = PsolParams(**params).filled()
        rates = (found.learning_rate, found.head_rate, found.weight_decay, found.loss_weight)
        return (found.chosen.epochs, found.batch_size, *rates, found.chosen.schedule)

    assert values() == (6, 256, 1e-3, 2.0, 5e-4, 50.0, "constant")
    assert values(preset="paper_cub") == (30, 64, 1e-3, 2.0, 5e-4, 50.0, "constant")
    assert values(preset="reference") == (6, 256, 1e-3, 2.0, 1e-4, 50.0, "constant")
    assert values(preset="reference", batch_size=64)[2] == pytest.approx(2.5e-4)
    assert values(preset="reference", batch_size=64, learning_rate=0.1)[2] == 0.1
    assert values(variant="joint", loss_weight=1.0)[5:] == (1.0, "steps")
    assert PsolParams(variant="joint").filled().drops == pytest.approx((1 / 3, 2 / 3))


def test_the_rate_of_joint_falls_after_each_third(made):
    """Breaks when the schedule of -Joint is that of -Sep: the log has the rate after each epoch's last step."""
    rates = [
        made.fit(**TINY, variant=variant).tables["training"].column("learning_rate").to_pylist()
        for variant in ("sep", "joint")
    ]
    np.testing.assert_allclose(rates, [[0.01] * 3, [0.001, 0.0001, 0.0001]])


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"variant": "both"}, "variant must be one of sep, joint"),
        ({"preset": "cub"}, "preset must be one of paper, paper_cub, reference"),
        ({"quality": "size"}, "quality must be one of none, contrast, score"),
        ({"loss_weight": -1.0}, "loss_weight must be at least 0"),
        ({"variant": "joint", "drops": (1.0,)}, "drops must lie between 0 and 1"),
        ({"drops": (0.5,)}, "drops belong to schedule steps, not constant"),
    ],
)
def test_bad_parameters_are_one_clear_line(params, said):
    """Breaks when a mistake in a config is found after the classifier was trained."""
    with pytest.raises(UsageError, match=f"stage psol: {said}"):
        localizers.stage_of("psol", **params).check()
    localizers.stage_of("psol", drops=(0.5,), schedule="steps").check()


def test_only_unflagged_boxes_of_train_are_trained_on(finished_run):
    """Breaks when dev, test or a fallback box enters the training."""
    labels = runs.rows(finished_run, "boxes_cam", "pseudo_labels")
    usable = [row for row in labels if row["split"] == "train" and row["flag"] is None]
    (done,) = runs.dones(finished_run, "psol")
    card = read_card(finished_run.store.blob(done, CARD))
    assert card.about["images"] == len(usable)
    assert (card.method, card.about["labels"], card.backbone) == ("psol", "boxes_cam", "smallnet")


def test_no_usable_box_is_one_line(run_copy):
    """Breaks when a pseudo-label stage without one usable box trains on nothing."""
    run_copy["stages"] = {
        **{name: runs.STAGES[name] for name in ("classify", "cam")},
        "none": {"stage": "boxes", "maps": "cam", "threshold": 1.0},
        "psol": {"labels": "none", "epochs": 1},
    }
    with pytest.raises(UsageError, match="none has no pseudo box of a training image"):
        runs.execute(runs.target_of(run_copy))


def test_other_classes_need_no_training(run_copy, tmp_path):
    """Breaks when -Sep, which knows no classes, cannot be applied to another data set: CUB from ImageNet."""
    rooms.write_images(tmp_path / "other")
    lines = [f"{'test' if n == 5 else 'train'}/{'cat' if n % 2 == 0 else 'dog'}/{n}.ppm" for n in range(6)]
    boxes = [",".join([line, *(str(rooms.box(n)[side]) for side in ("x0", "y0", "x1", "y1"))])
             for n, line in enumerate(lines)]  # fmt: skip
    (tmp_path / "other" / "boxes.csv").write_text("\n".join(["image_id,x0,y0,x1,y1", *boxes]) + "\n")
    names = ("classify", "cam", "sweep_cam", "calibrate", "boxes_cam", "psol")
    run_copy["stages"] = {
        **{name: runs.STAGES[name] for name in names},
        "other": {"stage": "ingest.folder", "root": str(tmp_path / "other")},
        "boxes_of_other": {"stage": "truth", "images": "other"},
        "transfer": {"stage": "localize", "images": "other", "model": "psol"},
        "evaluate": {"images": "other", "truth": "boxes_of_other", "predictions": ["transfer"], "splits": ["test"]},
    }
    target = runs.target_of(run_copy)
    computed = runs.execute(target)
    assert "psol" not in computed
    test = [row for row in runs.rows(target, "transfer", "predictions") if row["split"] == "test"]
    assert [row["image_id"] for row in test] == [lines[5]]
    assert all(row["classes"] is None and len(row["boxes"]) == 1 for row in test)
    metrics = {row["metric"] for row in runs.rows(target, "evaluate", "metrics") if row["method"] == "psol"}
    assert "gt_known" in metrics
    assert "top1_loc" not in metrics


def test_joint_is_evaluated_by_its_own_classes_or_another_s(run_copy):
    """Breaks when classes and boxes of -Joint do not meet in Top-k Loc, or other classes change its GT-known."""
    names = ("classify", "classes", "cam", "sweep_cam", "calibrate", "boxes_cam")
    run_copy["stages"] = {
        **{name: runs.STAGES[name] for name in names},
        "joint": {"stage": "psol", "labels": "boxes_cam", "variant": "joint", "epochs": 1, "batch_size": 16},
        "both": {"stage": "localize", "model": "joint"},
    }
    target = runs.target_of(run_copy)
    runs.execute(target)
    said = {row["image_id"]: row for row in runs.rows(target, "both", "predictions") if row["split"] == "test"}
    right = {name: row["classes"][0] == row["label"] for name, row in said.items()}
    hit = {name: right[name] or number % 2 == 0 for number, name in enumerate(said)}

    def found_or_not(line):
        corners = dict(list(said[line["image_id"]]["boxes"][0].items())[:4]) if hit.get(line["image_id"]) else {}
        yield {**line, **corners}

    shutil.copytree("data", "known")
    runs.rewrite_boxes(Path("known"), found_or_not)
    known = {"stage": "ingest.folder", "root": "known", "dev_fraction": runs.DEV_FRACTION}
    truth = {"stage": "truth", "images": "known"}
    scored = {
        "stage": "evaluate",
        "images": "known",
        "truth": "boxes_of_known",
        "predictions": ["both"],
        "splits": ["test"],
    }
    run_copy["stages"] |= {
        "known": known,
        "boxes_of_known": truth,
        "own": {**scored, "classes": "both"},
        "others": {**scored, "classes": "classes"},
    }
    target = runs.target_of(run_copy)
    runs.execute(target)
    own, others = (
        {row["metric"]: row["value"] for row in runs.rows(target, stage, "metrics")
         if row["method"] in ("psol", "classify") and row["iou"] in (None, 0.5)} for stage in ("own", "others")
    )  # fmt: skip
    assert own["gt_known"] == others["gt_known"] == pytest.approx(100 * np.mean(list(hit.values())))
    assert own["cls_top1"] == own["top1_loc"] == pytest.approx(100 * np.mean(list(right.values())))
    ranked = {row["image_id"]: row["classes"][0] for row in runs.rows(target, "classes", "predictions")}
    theirs = [hit[name] and ranked[name] == row["label"] for name, row in said.items()]
    assert others["top1_loc"] == pytest.approx(100 * np.mean(theirs))
