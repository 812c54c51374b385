"""The same stages on two devices, and how far their results are apart."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.in_process import Chain
from benchmarks.made_images import (
    FILES,
    HEIGHT,
    WIDTH,
    KnownBoxes,
    KnownBoxesParams,
    MadeImages,
    MadeImagesParams,
    paint,
)
from pipeline.contract.stage import AnyStage
from stages.boxes.boxes import pseudo_boxes
from stages.cam.options import CamParams
from stages.cam.stage import Cam
from stages.classify.options import ClassifyParams
from stages.classify.stage import Classify
from stages.ddt.options import DdtParams
from stages.ddt.stage import Ddt
from stages.psol.options import PsolParams
from stages.psol.predictor import BoxPredictor
from stages.psol.stage import Psol
from stages.vision.batches import to_batch
from stages.vision.box_rule import BoxRule
from stages.vision.boxes import iou
from stages.vision.images import resize
from stages.vision.model_card import CARD, WEIGHTS, read_card
from stages.vision.model_loaders import ModelLoaders
from stages.vision.models import plain_network
from stages.vision.preprocessing import IMAGENET

SIZE = 64
_RULE, _THRESHOLD = BoxRule(), 0.5
_EQUAL_IOU = 0.95


@dataclass(frozen=True)
class Outputs:
    """What one device computed of N images and C classes.

    logits: (N, C). cam_maps, ddt_maps: (N, h, w). cam_boxes: (N, 4) pixels. components: (C, d), rows of unit length.
    psol_loss: of the one step. psol_boxes: (N, 4) after it, fractions of the image.
    """

    logits: np.ndarray
    cam_maps: np.ndarray
    cam_boxes: np.ndarray
    ddt_maps: np.ndarray
    components: np.ndarray
    psol_loss: float
    psol_boxes: np.ndarray


def compute(folder: Path, device: str) -> Outputs:
    """Run the stages on a device. The classifier is trained on the CPU once, by whichever call comes first."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    shared: list[AnyStage] = [
        MadeImages("ingest", MadeImagesParams(root=str(folder / "images"))),
        KnownBoxes("boxes", KnownBoxesParams()),
        Classify("classify", ClassifyParams(input_size=SIZE, epochs=4, batch_size=16)),
    ]
    own: list[AnyStage] = [
        Cam("cam", CamParams(), ModelLoaders()),
        Ddt("ddt", DdtParams(), ModelLoaders()),
        Psol("psol", PsolParams(epochs=1, batch_size=FILES)),
    ]
    first = Chain(folder / "shared", "cpu")
    for stage in shared:
        first.run(stage)
    shutil.copytree(folder / "shared", folder / device)
    chain = Chain(folder / device, device)
    with _float32():
        for stage in (*shared, *own):
            chain.run(stage)
        return _outputs(chain, device)


def compare(reference: Outputs, other: Outputs) -> dict[str, float]:
    """Differences, each named as its tolerance: the largest over images, or for boxes the percentage that agree."""
    overlaps = [iou(a, b)[0, 0] for a, b in zip(reference.cam_boxes[:, None], other.cam_boxes[:, None], strict=True)]
    cosines = np.abs((reference.components * other.components).sum(axis=1))
    loss = abs(reference.psol_loss - other.psol_loss) / reference.psol_loss
    return {
        "logits_difference": float(np.abs(reference.logits - other.logits).max() / np.abs(reference.logits).max()),
        "cam_maps_difference": _of_range(reference.cam_maps, other.cam_maps),
        "cam_boxes_equal": 100 * float(np.mean(np.array(overlaps) >= _EQUAL_IOU)),
        "ddt_component_difference": float(1 - cosines.min()),
        "ddt_maps_difference": _of_range(reference.ddt_maps, other.ddt_maps),
        "psol_loss_difference": loss,
        "psol_boxes_difference": float(np.abs(reference.psol_boxes - other.psol_boxes).max()),
    }


def _outputs(chain: Chain, device: str) -> Outputs:
    maps = chain.maps("cam")
    card, weights = read_card(chain.blob("classify", CARD)), chain.blob("classify", WEIGHTS)
    network = plain_network(card, weights, device)
    predictor = BoxPredictor(read_card(chain.blob("psol", CARD)), chain.blob("psol", WEIGHTS), device)
    batch = to_batch([resize(paint(number)[0], SIZE) for number in range(FILES)], IMAGENET, device)
    with torch.inference_mode():
        logits, boxes = network(batch).cpu().numpy(), predictor(batch).boxes
    assert boxes is not None, "the box predictor gives boxes"
    components = chain.table("ddt", "components").sort_by("label").column("component").to_pylist()
    return Outputs(
        logits=logits,
        cam_maps=maps,
        cam_boxes=np.stack([pseudo_boxes(one, HEIGHT, WIDTH, _RULE, _THRESHOLD).boxes[0, :4] for one in maps]),
        ddt_maps=chain.maps("ddt"),
        components=np.array(components),
        psol_loss=chain.table("psol", "training").column("loss")[0].as_py(),
        psol_boxes=boxes,
    )


def _of_range(reference: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of two maps of an image, as a fraction of the reference map's range."""
    spans = reference.max(axis=(1, 2)) - reference.min(axis=(1, 2))
    return float((np.abs(reference - other).max(axis=(1, 2)) / spans).max())


@contextmanager
def _float32() -> Iterator[None]:
    """Keep convolutions on the GPU from rounding their inputs to TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
