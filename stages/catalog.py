"""The list of all stages and predictors: the one place that knows them all."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pipeline.predictor import LoadPredictor
from pipeline.stage import Stage
from stages.boxes.stage import Boxes
from stages.cam.stage import Cam
from stages.classify.predictor import ClassPredictor
from stages.classify.stage import Classify
from stages.ddt.stage import Ddt
from stages.evaluate.stage import Calibrate, Evaluate, Sweep
from stages.export.stage import Export
from stages.gradcam.stage import Gradcam
from stages.i2c.stage import I2c
from stages.ingest.stage import IngestDemo, IngestFolder, IngestTinyImagenet
from stages.localize.stage import Localize
from stages.minmax.stage import Minmax
from stages.ncut.stage import Ncut
from stages.plain.stage import PlainCam
from stages.psol.predictor import BoxPredictor
from stages.psol.stage import Psol
from stages.refine.stage import Arm, Scg, Sgrm
from stages.report.stage import Report
from stages.sdcam.stage import Sdcam
from stages.spa.stage import Spa

STAGES: Mapping[str, type[Stage]] = MappingProxyType(
    {
        stage.kind: stage
        for stage in (
            IngestFolder,
            IngestTinyImagenet,
            IngestDemo,
            Classify,
            Cam,
            Gradcam,
            Ddt,
            Ncut,
            I2c,
            Spa,
            Minmax,
            PlainCam,
            Sdcam,
            Scg,
            Arm,
            Sgrm,
            Sweep,
            Calibrate,
            Boxes,
            Psol,
            Localize,
            Evaluate,
            Report,
            Export,
        )
    }
)

PREDICTORS: Mapping[str, LoadPredictor] = {
    **dict.fromkeys(("classify", "i2c", "spa", "minmax", "sdcam"), ClassPredictor),
    **dict.fromkeys(("plain_cam", "has", "acol", "spg", "adl", "cutmix"), ClassPredictor),  # techniques of plain_cam
    "psol": BoxPredictor,
}
"""By the method on a model's card. Localizers that are classifiers give classes here, and maps to stage `cam`."""


def kinds() -> Sequence[str]:
    """All stage kinds."""
    return list(STAGES)


def refinements() -> Sequence[str]:
    """Kinds that make score maps of score maps: what `refine` of a run config may name."""
    return [stage.kind for stage in (Scg, Arm, Sgrm)]


def params_type(kind: str) -> type:
    """The parameter dataclass of a kind."""
    return STAGES[kind].Params


def create(kind: str, name: str, params: Any) -> Stage:
    """A stage object; `localize` gets the predictors."""
    if kind == Localize.kind:
        return Localize(name, params, PREDICTORS)
    return STAGES[kind](name, params)
