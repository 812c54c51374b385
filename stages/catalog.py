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
from stages.ingest.stage import IngestDemo, IngestFolder, IngestTinyImagenet
from stages.localize.stage import Localize
from stages.psol.predictor import BoxPredictor
from stages.psol.stage import Psol
from stages.report.stage import Report

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

PREDICTORS: Mapping[str, LoadPredictor] = {"classify": ClassPredictor, "psol": BoxPredictor}


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
