import json

import numpy as np
import torch

from stages.cam.cam import class_activation_maps
from stages.vision.batches import to_batch
from stages.vision.images import decode
from stages.vision.models import CARD, WEIGHTS, classifier_network
from tests import runs


def test_a_map_is_that_of_the_images_own_class(finished_run):
    """Breaks when a row gets another image's map or another class's, or the map is transposed."""
    (done,) = runs.dones(finished_run, "classify")
    store = finished_run.store
    network = classifier_network(json.loads(store.blob(done, CARD)), store.blob(done, WEIGHTS))
    images = {row["image_id"]: row for row in runs.rows(finished_run, "ingest", "images")}
    for row in runs.rows(finished_run, "cam", "score_maps")[::7]:
        with open(images[row["image_id"]]["uri"], "rb") as file:
            pixels = to_batch([decode(file.read())])
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
