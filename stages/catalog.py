"""The list of all stages, readers, networks and predictors.

Other packages add to it by entry points: those of group `weakbox.stages` name stage classes, those of group
`weakbox.readers` reader classes. Importing this module must be quick, see pipeline.contract.stage.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from pipeline.base.errors import UsageError
from pipeline.base.params import Parameters
from pipeline.contract.stage import AnyStage, Stage
from stages.arm.stage import Arm
from stages.bases.model_stage import ModelStage
from stages.boxes.stage import Boxes
from stages.calibrate.stage import Calibrate
from stages.cam.stage import Cam
from stages.classify.stage import Classify
from stages.consensus.stage import Consensus
from stages.ddt.stage import Ddt
from stages.deduplicate.stage import Deduplicate
from stages.duplicates.stage import Duplicates
from stages.evaluate.stage import Evaluate
from stages.export.stage import Export
from stages.gradcam.stage import Gradcam
from stages.i2c.stage import I2c
from stages.importing.stage import Import
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.readers.auto import AutoReader
from stages.ingest.readers.coco import CocoReader
from stages.ingest.readers.csv import CsvReader
from stages.ingest.readers.cub import CubReader
from stages.ingest.readers.demo import DemoReader
from stages.ingest.readers.folder import FolderReader
from stages.ingest.readers.huggingface import HuggingfaceReader
from stages.ingest.readers.ilsvrc import IlsvrcReader
from stages.ingest.readers.openimages import OpenimagesReader
from stages.ingest.readers.parquet import ParquetReader
from stages.ingest.readers.tiny_imagenet import TinyImagenetReader
from stages.ingest.readers.voc import VocReader
from stages.ingest.readers.webdataset import WebdatasetReader
from stages.ingest.readers.wsol import WsolReader
from stages.ingest.stage import KIND, Ingest
from stages.localize.stage import Localize
from stages.minmax.stage import Minmax
from stages.model.stage import Model
from stages.ncut.stage import Ncut
from stages.perceptual_hash.stage import PerceptualHash
from stages.plain_cam.stage import PlainCam
from stages.psol.stage import Psol
from stages.quality.stage import Quality
from stages.report.stage import Report
from stages.scg.stage import Scg
from stages.sdcam.stage import Sdcam
from stages.sgrm.stage import Sgrm
from stages.spa.stage import Spa
from stages.sweep.stage import Sweep
from stages.truth.stage import Truth
from stages.vision.model_loaders import ModelLoaders

T = TypeVar("T")
_STAGES, _READERS = "weakbox.stages", "weakbox.readers"

READERS: Sequence[type[Reader[ReaderParams]]] = (
    AutoReader,
    TinyImagenetReader,
    IlsvrcReader,
    VocReader,
    CubReader,
    WsolReader,
    OpenimagesReader,
    CocoReader,
    WebdatasetReader,
    HuggingfaceReader,
    ParquetReader,
    CsvReader,
    DemoReader,
    FolderReader,
)
"""The most specific layouts first: `folder` takes every data set that no other reader recognizes."""

STAGES: Sequence[type[AnyStage]] = (
    Truth,
    PerceptualHash,
    Duplicates,
    Deduplicate,
    Import,
    Model,
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
    Quality,
    Consensus,
    Psol,
    Localize,
    Evaluate,
    Report,
    Export,
)

LOADERS = ModelLoaders(
    networks={"acol": "stages.plain_cam.two_branches:load", "sdcam": "stages.sdcam.teacher_student:load"},
    predictors={"psol": "stages.psol.predictor:BoxPredictor"},
)
"""Loaders by the method on a model's card. Ordinary classifiers need no entry, whatever method trained them."""


def kinds() -> Sequence[str]:
    """All stage kinds, readers first."""
    return [f"{KIND}.{name}" for name in readers()] + list(stages())


def refinements() -> Sequence[str]:
    """Kinds that refine score maps: the choices of `refine` in a run config."""
    return [stage.kind for stage in (Scg, Arm, Sgrm)]


def params_type(kind: str) -> type[Parameters]:
    """The parameter dataclass of a kind."""
    reader = readers().get(kind.removeprefix(f"{KIND}."))
    return stages()[kind].Params if reader is None else reader.Params


def description(kind: str) -> str:
    """The docstring of a kind's class."""
    reader = readers().get(kind.removeprefix(f"{KIND}."))
    return (stages()[kind] if reader is None else reader).__doc__ or ""


def create(kind: str, name: str, params: Parameters) -> AnyStage:
    """A stage object. Stages that read a model get the model loaders."""
    reader = readers().get(kind.removeprefix(f"{KIND}."))
    if reader is not None and isinstance(params, ReaderParams):
        made = reader(params)
        made.among(list(readers().values()))
        return Ingest(name, params, made)
    stage = stages()[kind]
    return stage(name, params, LOADERS) if issubclass(stage, ModelStage) else stage(name, params)


@cache
def stages() -> Mapping[str, type[AnyStage]]:
    """Kind -> stage class, with those of other packages. Raises UsageError for an entry point that is none."""
    added = [
        found for found in _added(_STAGES, Stage, ("kind", "version", "Params", "outputs")) if issubclass(found, Stage)
    ]
    return _by_name((stage.kind, stage) for stage in (*STAGES, *added))


@cache
def readers() -> Mapping[str, type[Reader[ReaderParams]]]:
    """Name -> reader class, with those of other packages. Raises UsageError for an entry point that is none."""
    added = [found for found in _added(_READERS, Reader, ("name", "Params")) if issubclass(found, Reader)]
    return _by_name((reader.name, reader) for reader in (*READERS, *added))


def _by_name(named: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, own in named:
        if name in found:
            raise UsageError(f"{name!r} is the name of {found[name]} and of {own}: remove one of their packages")
        found[name] = own
    return found


def _added(group: str, base: type, says: Sequence[str]) -> list[type]:
    """The classes that installed packages add to a group. says: attributes that each class must have."""
    return [_loaded(entry, base, says) for entry in _entry_points() if entry.group == group]


@cache
def _entry_points() -> list[EntryPoint]:
    """Entry points of all groups, by group and name; cached, because the search reads every installed package."""
    return sorted(
        (entry for group in (_STAGES, _READERS) for entry in entry_points(group=group)),
        key=lambda entry: (entry.group, entry.name, entry.value),
    )


def _loaded(entry: EntryPoint, base: type, says: Sequence[str]) -> type:
    where = f"entry point {entry.name} of {entry.group}: {entry.value}"
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:  # whatever the import of someone else's package raises
        raise UsageError(f"{where}: {error}") from error
    if not isinstance(found, type) or not issubclass(found, base) or inspect.isabstract(found):
        raise UsageError(f"{where} is no {base.__name__}, or leaves some of its methods out")
    if missing := [name for name in says if not hasattr(found, name)]:
        raise UsageError(f"{where} has no attribute {missing[0]}")
    return found
