"""What folding and bfloat16 do to boxes: CAM of a published network on photographs of ILSVRC's validation set."""

import tarfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch

from benchmarks.figures import Measured
from benchmarks.outside_data import data_file
from stages.boxes.boxes import pseudo_boxes
from stages.cam.cam import class_activation_maps
from stages.scoring.arrow_tables import Truth
from stages.scoring.foreign.metadata_folder import read_metadata
from stages.vision.backbones.build import build
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.published import published
from stages.vision.backbones.sources import WeightsError
from stages.vision.backbones.weights import load_weights
from stages.vision.batches import to_batch
from stages.vision.box_rule import BoxRule
from stages.vision.boxes import iou
from stages.vision.images import decode, resize
from stages.vision.inference import autocast
from stages.vision.inference_network import for_inference
from stages.vision.memory_format import channels_last
from stages.vision.precision import InferencePrecision

BACKBONE, WEIGHTS = "efficientnet_lite0", "package:efficientnet_lite0"
CLASSES, SIZE, BATCH = 1000, 224, 32
THRESHOLD, SAME, RIGHT = 0.25, 0.95, 0.5
"""Cut of the min-maxed map; least IoU of two boxes that count as the same; least IoU of a right box with a true one."""
ARMS: dict[str, InferencePrecision] = {"folded": "float32", "bfloat16": "bfloat16"}


def forward_boxes(folder: Path) -> Iterator[Measured]:
    """For folded float32 and bfloat16: boxes equal to the unfolded float32 network's, and the change of GT-known.

    GT-known is of the image's own class, in percent; `baseline_value` is the unfolded network's.
    """
    try:
        network, photographs = _network(), _photographs(folder)
    except (LookupError, WeightsError) as error:
        for arm in ARMS:
            yield Measured(f"{arm}_boxes_equal", None, 0, reason=str(error))
            yield Measured(f"{arm}_gt_known_change", None, 0, reason=str(error))
        return
    truth = read_metadata(photographs / "metadata" / "ILSVRC" / "test").truth
    unfolded = _boxes(network, photographs, truth, "float32")
    right = _gt_known(unfolded, truth)
    ready = for_inference(deepcopy(network), SIZE)
    said = f"{len(unfolded)} photographs, CAM at {THRESHOLD} of the map's range, {BACKBONE} at {SIZE}"
    for arm, precision in ARMS.items():
        found = _boxes(ready, photographs, truth, precision)
        same = [iou(one, other)[0, 0] >= SAME for one, other in zip(unfolded, found, strict=True)]
        yield Measured(f"{arm}_boxes_equal", 100 * float(np.mean(same)), 1, reason=said, unit="%")
        now = _gt_known(found, truth)
        note = f"{said}: {now:.2f} %, unfolded float32 {right:.2f} %"
        yield Measured(f"{arm}_gt_known_change", abs(now - right), 1, right, note, "points")


def _network() -> LocalizerNetwork:
    """The published network. Raises WeightsError where the package is absent."""
    network = build(BACKBONE, CLASSES)
    load_weights(network, WEIGHTS)
    network.preprocessing = published(WEIGHTS, BACKBONE).preprocessing
    return channels_last(network.eval(), "cpu")


def _photographs(folder: Path) -> Path:
    """The unpacked photographs and their boxes. Raises LookupError where they are absent."""
    archive = data_file("ilsvrc-val.tar.gz")
    if archive is None:
        raise LookupError("the photographs of ILSVRC's validation set are absent")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "ilsvrc-val"


def _boxes(network: LocalizerNetwork, root: Path, truth: Truth, precision: InferencePrecision) -> np.ndarray:
    """The box of each image's own class, (N, 4) pixels, of its map as tables keep it."""
    boxes = []
    for start in range(0, len(truth.image_ids), BATCH):
        part = slice(start, start + BATCH)
        images = [decode((root / name).read_bytes()) for name in truth.image_ids[part]]
        said = network.preprocessing
        batch = to_batch([resize(image, SIZE, said.interpolation) for image in images], said)
        with torch.inference_mode():
            with autocast("cpu", precision):
                features = network.class_features(batch)
            labels = torch.as_tensor(np.asarray(truth.labels)[part])
            maps = class_activation_maps(features, network.classifier.weight, labels).half().numpy()
        for image, score_map in zip(images, maps, strict=True):
            boxes.append(pseudo_boxes(score_map, image.shape[0], image.shape[1], BoxRule(), THRESHOLD).boxes[0, :4])
    return np.stack(boxes)


def _gt_known(boxes: np.ndarray, truth: Truth) -> float:
    """Percentage of images whose box overlaps one of their true boxes by half."""
    return 100 * float(np.mean([iou(box, truth.boxes.of(n)).max() >= RIGHT for n, box in enumerate(boxes)]))
