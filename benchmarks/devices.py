"""The same stages on two devices, and how far their results are apart."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.in_process import Chain
from benchmarks.made_images import (
    CLASSES,
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
from stages.arm.options import ArmStageParams
from stages.arm.stage import Arm
from stages.boxes.boxes import pseudo_boxes
from stages.cam.options import CamParams
from stages.cam.stage import Cam
from stages.classify.options import ClassifyParams
from stages.classify.stage import Classify
from stages.ddt.options import DdtParams
from stages.ddt.stage import Ddt
from stages.i2c.options import I2cParams
from stages.i2c.stage import I2c
from stages.minmax.options import MinmaxParams
from stages.minmax.stage import Minmax
from stages.ncut.options import NcutParams
from stages.ncut.stage import Ncut
from stages.psol.options import PsolParams
from stages.psol.predictor import BoxPredictor
from stages.psol.stage import Psol
from stages.scg.options import ScgStageParams
from stages.scg.stage import Scg
from stages.scoring.mask_metrics import mask_iou
from stages.sgrm.options import SgrmStageParams
from stages.sgrm.stage import Sgrm
from stages.spa.options import SpaParams
from stages.spa.stage import Spa
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
TRAINED = ("psol", "i2c", "spa", "minmax")
MAPS = ("cam", "ddt", "scg", "arm", "ncut")
ITERATIONS = 20
"""The most iterations of SGRM: of longer trainings rounding decides the result on either device, see `sgrm_speed`."""


@dataclass(frozen=True)
class Outputs:
    """What one device computed of N images and C classes.

    logits: (N, C). maps: method -> (N, h, w). cam_boxes, bfloat16_boxes: (N, 4) pixels. components: (C, d), rows of
    unit length. masks: (N, h, w) bool, of SGRM. losses: localizer -> loss of its one step. psol_boxes: (N, 4) after
    it, fractions of the image.
    """

    logits: np.ndarray
    maps: Mapping[str, np.ndarray]
    cam_boxes: np.ndarray
    bfloat16_boxes: np.ndarray
    components: np.ndarray
    masks: np.ndarray
    losses: Mapping[str, float]
    psol_boxes: np.ndarray


def compute(folder: Path, device: str) -> Outputs:
    """Run the stages on a device. The classifier is trained on the CPU once, by whichever call comes first."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    shared: list[AnyStage] = [
        MadeImages("ingest", MadeImagesParams(root=str(folder / "images"))),
        KnownBoxes("boxes", KnownBoxesParams()),
        Classify("classify", ClassifyParams(input_size=SIZE, epochs=4, batch_size=16)),
    ]
    own = _compared()
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
    """Differences, each named as its tolerance: the largest over images, or the percentage of images that agree."""
    cosines = np.abs((reference.components * other.components).sum(axis=1))
    losses = reference.losses
    return {
        "logits_difference": float(np.abs(reference.logits - other.logits).max() / np.abs(reference.logits).max()),
        **{f"{method}_maps_difference": _of_range(maps, other.maps[method]) for method, maps in reference.maps.items()},
        "cam_boxes_equal": _equal(reference.cam_boxes, other.cam_boxes),
        "cam_bfloat16_boxes_equal": _equal(other.cam_boxes, other.bfloat16_boxes),
        "ddt_component_difference": float(1 - cosines.min()),
        "sgrm_masks_equal": 100 * float(np.mean(mask_ious(reference.masks, other.masks) >= _EQUAL_IOU)),
        **{f"{kind}_loss_difference": abs(loss - other.losses[kind]) / loss for kind, loss in losses.items()},
        "psol_boxes_difference": float(np.abs(reference.psol_boxes - other.psol_boxes).max()),
    }


def mask_ious(masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of each of N masks ``(N, h, w)`` bool with the other's, ``(N,)``."""
    return np.array([mask_iou(one, other) for one, other in zip(masks, others, strict=True)])


def _compared() -> list[AnyStage]:
    """The stages whose results are compared. Each training is one step on all images."""
    loaders = ModelLoaders()
    sets = FILES // CLASSES
    return [
        Cam("cam", CamParams(), loaders),
        Cam("cam_bfloat16", CamParams(precision="bfloat16"), loaders),
        Ddt("ddt", DdtParams(), loaders),
        Scg("scg", ScgStageParams(maps="cam"), loaders),
        Arm("arm", ArmStageParams(maps="cam", size=SIZE)),
        Sgrm("sgrm", SgrmStageParams(maps="arm", size=SIZE, min_size=16, channels=24, iterations=ITERATIONS)),
        Ncut("ncut", NcutParams(), loaders),
        Psol("psol", PsolParams(epochs=1, batch_size=FILES)),
        I2c("i2c", I2cParams(epochs=1, classes=CLASSES, set_size=sets)),
        Spa("spa", SpaParams(epochs=1, first_epoch=0, batch_size=FILES)),
        Minmax("minmax", MinmaxParams(epochs=1, classes=CLASSES, set_size=sets)),
    ]


def _outputs(chain: Chain, device: str) -> Outputs:
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
        maps={method: chain.maps(method) for method in MAPS},
        cam_boxes=_boxes(chain.maps("cam")),
        bfloat16_boxes=_boxes(chain.maps("cam_bfloat16")),
        components=np.array(components),
        masks=chain.maps("sgrm") > 0.5,
        losses={kind: chain.table(kind, "training").column("loss")[0].as_py() for kind in TRAINED},
        psol_boxes=boxes,
    )


def _boxes(maps: np.ndarray) -> np.ndarray:
    """The box of each map, (N, 4) pixels."""
    return np.stack([pseudo_boxes(one, HEIGHT, WIDTH, _RULE, _THRESHOLD).boxes[0, :4] for one in maps])


def _equal(boxes: np.ndarray, others: np.ndarray) -> float:
    """Percentage of images whose two boxes agree."""
    overlaps = [iou(a, b)[0, 0] for a, b in zip(boxes[:, None], others[:, None], strict=True)]
    return 100 * float(np.mean(np.array(overlaps) >= _EQUAL_IOU))


def _of_range(reference: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of two maps of an image, as a fraction of the reference map's range."""
    spans = reference.max(axis=(1, 2)) - reference.min(axis=(1, 2))
    apart = np.abs(reference - other).max(axis=(1, 2))
    return float((apart / np.where(spans > 0, spans, 1)).max())


@contextmanager
def _float32() -> Iterator[None]:
    """Keep convolutions on the GPU from rounding their inputs to TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
