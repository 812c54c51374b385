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
from stages.psol.predictor import BoxPredictor
from stages.psol.stage import Psol
from stages.refine.stage import Scg
from stages.report.stage import Report
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
            I2c,
            Spa,
            Minmax,
            Scg,
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
    **dict.fromkeys(("classify", "i2c", "spa", "minmax"), ClassPredictor),
    "psol": BoxPredictor,
}
"""By the method on a model's card. Localizers that are classifiers give classes here, and maps to stage `cam`."""


def kinds() -> Sequence[str]:
    """All stage kinds."""
    return list(STAGES)


def params_type(kind: str) -> type:
    """The parameter dataclass of a kind."""
    return STAGES[kind].Params


def create(kind: str, name: str, params: Any) -> Stage:
    """A stage object; `localize` gets the predictors."""
    if kind == Localize.kind:
        return Localize(name, params, PREDICTORS)
    return STAGES[kind](name, params)
