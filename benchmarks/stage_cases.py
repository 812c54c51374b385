"""Stages whose images per second are measured on a device, and runs in which their inputs are ready."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.in_process import Chain
from benchmarks.made_images import CLASSES, MadeImages, MadeImagesParams
from pipeline.contract.stage import AnyStage
from stages.cam.options import CamParams
from stages.cam.stage import Cam
from stages.classify.options import ClassifyParams
from stages.classify.stage import Classify
from stages.ddt.options import DdtParams
from stages.ddt.stage import Ddt
from stages.localize.options import LocalizeParams
from stages.localize.stage import Localize
from stages.vision.model_loaders import ModelLoaders
from stages.vision.precision import InferencePrecision

__all__ = ["CASES", "Case", "prepared"]


@dataclass(frozen=True)
class Case:
    """A stage on a network. batch: images in a pass, images: images in a shard (ddt: in a class), both by device."""

    name: str
    backbone: str
    size: int
    precision: InferencePrecision
    batch: dict[str, int]
    images: dict[str, int]

    def stage(self, device: str, ahead: int) -> AnyStage:
        """The stage; ahead: threads that decode."""
        batch = self.batch[device]
        if self.name == "cam":
            return Cam("cam", CamParams(batch_size=batch, decode_ahead=ahead, precision=self.precision), ModelLoaders())
        if self.name == "localize":
            params = LocalizeParams(splits=("train",), batch_size=batch, decode_ahead=ahead, precision=self.precision)
            return Localize("localize", params, ModelLoaders())
        return Ddt("ddt", DdtParams(batch_size=batch, decode_ahead=ahead, precision=self.precision), ModelLoaders())


CASES = (
    Case("ddt", "vgg16_gap", 448, "bfloat16", {"cpu": 8, "cuda": 64}, {"cpu": 8, "cuda": 1280}),
    Case("cam", "mobilenet_v2", 224, "bfloat16", {"cpu": 32, "cuda": 256}, {"cpu": 32, "cuda": 8192}),
    Case("cam", "resnet50", 224, "bfloat16", {"cpu": 32, "cuda": 256}, {"cpu": 32, "cuda": 8192}),
    Case("localize", "resnet50", 224, "bfloat16", {"cpu": 32, "cuda": 256}, {"cpu": 32, "cuda": 8192}),
)


def prepared(folder: Path, case: Case, device: str, images: int) -> Chain:
    """A run with made photographs and an untrained classifier; images: number a shard (for ddt: a class)."""
    (folder / "images").mkdir(parents=True)
    chain = Chain(folder / "run", device)
    shards, rows = (1, CLASSES * images) if case.name == "ddt" else (2, images)
    made = MadeImagesParams(root=str(folder / "images"), shards=shards, rows=rows, photographs=True)
    chain.run(MadeImages("ingest", made))
    chain.run(Classify("classify", ClassifyParams(backbone=case.backbone, epochs=0, input_size=case.size)))
    return chain
