import numpy as np
import pytest
import torch

from pipeline.base.errors import UsageError
from stages.cam.cam import class_activation_maps
from stages.cam.options import CamParams
from stages.vision.batches import to_batch
from stages.vision.images import decode
from stages.vision.model_card import CARD, WEIGHTS, read_card
from stages.vision.models import load_network, plain_network
from stages.vision.preprocessing import IMAGENET
from tests import runs


def test_a_map_is_that_of_the_images_own_class(finished_run):
    """Breaks when a row gets another image's map or another class's, or the map is transposed."""
    (done,) = runs.dones(finished_run, "classify")
    store = finished_run.store
    network = plain_network(read_card(store.blob(done, CARD)), store.blob(done, WEIGHTS))
    images = runs.images(finished_run)
    for row in runs.rows(finished_run, "cam", "score_maps")[::7]:
        pixels = to_batch([decode(images[row["image_id"]]["file"].read_bytes())], IMAGENET)
        with torch.inference_mode():
            features = network.features(pixels)
            expected = class_activation_maps(features, network.classifier.weight, torch.tensor([row["label"]]))[0]
        found = np.array(row["map"], np.float32).reshape(row["height"], row["width"])
        np.testing.assert_allclose(found, expected.numpy(), rtol=2e-3, atol=2e-3)
        assert (row["method"], row["backbone"], row["input_size"], row["flag"]) == ("cam", "smallnet", 64, None)


def test_batch_size_and_decoding_threads_change_no_map(run_copy, finished_run):
    """Breaks when a resource parameter changes results beyond the last bits of half precision."""
    entry = {"stage": "cam", "batch_size": 3, "decode_ahead": 2}
    run_copy["stages"] = {"classify": runs.STAGES["classify"], "maps2": entry}
    target = runs.target_of(run_copy)
    runs.execute(target)
    one, other = (
        {row["image_id"]: row["map"] for row in runs.rows(t, name, "score_maps")}
        for t, name in ((finished_run, "cam"), (target, "maps2"))
    )
    assert one.keys() == other.keys()
    for image_id, values in one.items():
        np.testing.assert_allclose(values, other[image_id], rtol=2e-3, atol=2e-3)


@pytest.fixture
def variants(run_copy):
    """Rows by image of cam stages that differ from `cam` in what their names say."""
    run_copy["stages"] = {
        "classify": runs.STAGES["classify"],
        "classes": {**runs.STAGES["classes"], "splits": ["train", "dev", "test"]},
        "simplified": {"stage": "cam", "form": "simplified"},
        "predicted": {"stage": "cam", "classes": "predicted"},
        "half": {"stage": "cam", "precision": "bfloat16"},
        "boxes": {"maps": "predicted", "threshold": 0.3},
        "evaluate": {"classes": "classes", "labels": ["boxes"], "splits": ["test"]},
    }
    target = runs.target_of(run_copy)
    runs.execute(target)
    return target


def by_image(target, stage, table="score_maps"):
    return {row["image_id"]: row for row in runs.rows(target, stage, table)}


def test_forms_classes_and_precisions(variants, finished_run):
    """Breaks when a parameter is ignored, a bias is another class's, or sums over channels are taken in 16 bits."""
    plain, classes = by_image(finished_run, "cam"), by_image(variants, "classes", "predictions")
    simplified, predicted, half = (by_image(variants, name) for name in ("simplified", "predicted", "half"))
    (done,) = runs.dones(variants, "classify")
    network = load_network({}, read_card(variants.store.blob(done, CARD)), variants.store.blob(done, WEIGHTS), "cpu")
    images = runs.images(variants)
    for image_id, row in plain.items():
        difference = np.array(simplified[image_id]["map"], np.float32) - np.array(row["map"], np.float32)
        np.testing.assert_allclose(difference, network.classifier.bias[row["label"]].item(), atol=4e-3)
        assert predicted[image_id]["label"] == classes[image_id]["classes"][0]
        assert (row["method"], predicted[image_id]["method"]) == ("cam", "cam_predicted")
        same = predicted[image_id]["label"] == row["label"]
        assert (predicted[image_id]["map"] == row["map"]) == same
    for image_id in list(plain)[::9]:
        pixels = to_batch([decode(images[image_id]["file"].read_bytes())], IMAGENET)
        with torch.inference_mode():
            with torch.autocast("cpu", torch.bfloat16):
                features = network.features(pixels)
            label = torch.tensor([plain[image_id]["label"]])
            expected = class_activation_maps(features, network.classifier.weight, label)[0].numpy()
        found = np.array(half[image_id]["map"], np.float32).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


def test_boxes_of_the_predicted_class_are_not_called_gt_known(variants):
    """Breaks when a box of the class that the network predicts is scored as that of the true one."""
    rows = [row for row in runs.rows(variants, "evaluate", "metrics") if row["method"] == "cam_predicted"]
    found = {row["metric"] for row in rows}
    assert "top1_loc" in found
    assert not found & {"gt_known", "gt_delta", "top5_loc"}


def test_a_network_without_cam_is_one_clear_line(run_copy):
    """Breaks when the patch tokens of a class-token network are multiplied with weights that never saw them."""
    run_copy["stages"] = {"classify": {"backbone": "vit_s16", "epochs": 0}, "cam": {}}
    with pytest.raises(UsageError, match="stage cam: .*vit_s16.* CAM is not defined"):
        runs.execute(runs.target_of(run_copy))


def test_the_bias_goes_with_the_maps_of_spa():
    """Breaks when SPA's maps, of which SCG takes the positive part, lose the bias that its loss was computed with."""
    assert CamParams().form_of("spa") == "simplified"
    assert CamParams().form_of("classify") == CamParams().form_of("i2c") == "classic"
    assert CamParams(form="classic").form_of("spa") == "classic"
    assert CamParams(combination="linear").form_of("spa") == "classic"
