"""The run config: a YAML file, `--set` changes, strict types; it becomes stage objects by way of a catalog."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.base.params import Parameters, choices_of, input_tables, not_a_choice
from pipeline.base.suggestions import nearest
from pipeline.config.refinements import REFINE, with_refinements
from pipeline.contract.resources import SAVE_MINUTES, Resources, StageResources
from pipeline.contract.stage import AnyStage

P = TypeVar("P", bound=Parameters)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(:-(?P<default>[^}]*))?\}")
INGEST = "ingest"


class Catalog(Protocol):
    """The list of all stages, as the config needs it."""

    def kinds(self) -> Sequence[str]:
        """All stage kinds."""

    def refinements(self) -> Sequence[str]:
        """Kinds that make score maps of score maps."""

    def params_type(self, kind: str) -> type[Parameters]:
        """The parameter dataclass of a kind."""

    def create(self, kind: str, name: str, params: Parameters) -> AnyStage:
        """A stage object."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PoolConfig(_Strict):
    """Resources of one stage: number of actors (trainings: workers), and what each of them takes."""

    actors: int | None = Field(None, ge=1)
    cpus: float = Field(1, gt=0)
    gpus: float = Field(0, ge=0)
    memory: int | None = Field(None, gt=0, description="bytes")
    custom: dict[str, float] = Field({}, description="Ray's custom resources: name -> amount")
    labels: dict[str, str] = Field({}, description="labels that a node must have: label -> value")
    save_minutes: float = Field(
        SAVE_MINUTES, ge=0, description="minutes between two checkpoints inside an epoch of a training"
    )

    micro_batch: int | None = Field(
        None,
        ge=1,
        description="most images that a worker of a training computes at once; null: its whole share of a step",
    )

    def build(self) -> StageResources:
        """The same as the record that runners take."""
        return StageResources(
            self.actors,
            self.cpus,
            self.gpus,
            self.memory,
            self.custom,
            self.labels,
            self.save_minutes,
            self.micro_batch,
        )


class ResourcesConfig(PoolConfig):
    """`resources:` of a config: the default pool, `train` for trainings, `stages` for exceptions by stage name."""

    train: PoolConfig = PoolConfig(actors=1)
    stages: dict[str, PoolConfig] = {}
    num_cpus: int | None = Field(None, ge=1, description="CPUs of a local Ray; null: as many as the machine has")
    grace: float = Field(30.0, ge=0, description="seconds that running shards get to finish after SIGTERM")
    placement: float = Field(60.0, ge=0, description="seconds to wait for a node on which a stage's actors fit")

    def resources(self) -> Resources:
        """The same as the record that runners take."""
        return Resources(self.build(), self.train.build(), {name: pool.build() for name, pool in self.stages.items()})


class RunConfig(_Strict):
    """A whole run."""

    run_root: str = Field(min_length=1)
    dataset: dict[str, Any]  # Any: pydantic takes what YAML gives as it is; stages check it
    stages: dict[str, dict[str, Any] | None] = {}
    resources: ResourcesConfig = ResourcesConfig()
    max_quarantined: float = Field(0.01, ge=0, le=1, description="stop a stage that quarantines a larger fraction")

    def stage_objects(self, catalog: Catalog) -> dict[str, AnyStage]:
        """The stages of this run, the data set's ingest stage first, each refinement after the stage it refines.

        Raises:
            UsageError: an unknown stage kind or parameter (the nearest known one is named), a wrong type, or `refine`
                on a stage without score maps.
        """
        dataset = dict(self.dataset)
        reader = dataset.pop("reader", None)
        if not isinstance(reader, str):
            raise UsageError("dataset: reader is missing")
        kinds: dict[str, Json] = {INGEST: f"{INGEST}.{reader}"}
        entries = {INGEST: dataset}
        for name, entry in self._refined(catalog).items():
            if not _NAME.fullmatch(name) or name == INGEST:
                raise UsageError(f"stages: {name!r} is no name for a stage (small letters, digits, _; not {INGEST!r})")
            entries[name] = dict(entry)
            kinds[name] = entries[name].pop("stage", name)
        stages = {name: make_stage(name, kinds[name], entry, catalog) for name, entry in entries.items()}
        for name, given in self.stages.items():
            if given and given.get(REFINE) and "score_maps" not in stages[name].outputs:
                raise UsageError(f"stage {name}: {REFINE}: {stages[name].kind} gives no score_maps to be refined")
        for name in self.resources.stages:
            if name not in stages:
                raise UsageError(f"resources: stages: there is no stage {name!r}{nearest(name, stages)}")
        for stage in stages.values():
            stage.check()
        return stages

    def _refined(self, catalog: Catalog) -> dict[str, Mapping[str, Json]]:
        """The entries of `stages` with their refinements as entries of their own."""
        kinds = catalog.refinements()
        reads = {kind: input_tables(catalog.params_type(kind)) for kind in kinds}
        return with_refinements({name: entry or {} for name, entry in self.stages.items()}, kinds, reads)


def load_config(path: str, changes: Sequence[str] = ()) -> RunConfig:
    """Read a config file and apply `--set a.b=c` changes (c is parsed as YAML).

    Raises:
        UsageError: unreadable file, bad YAML, unknown key (the nearest known one is named), wrong type.
    """
    try:
        with open(path, encoding="utf-8") as file:
            data = yaml.safe_load(file)
    except OSError as error:
        raise UsageError(f"config {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"config {path}: no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UsageError(f"config {path}: a mapping with run_root, dataset and stages was expected")
    return parse_config(data, changes, where=path)


def parse_config(data: Mapping[str, Json], changes: Sequence[str] = (), where: str = "config") -> RunConfig:
    """A RunConfig from plain data. Relative local run roots are taken from the current folder."""
    merged: dict[str, Json] = dict(data)
    for change in changes:
        merged = _changed(merged, change)
    try:
        config = RunConfig.model_validate(_expanded(merged))
    except ValidationError as error:
        raise UsageError(f"{where}: {_first_error(error, RunConfig)}") from error
    root = config.run_root if "://" in config.run_root else os.path.abspath(config.run_root)
    return config.model_copy(update={"run_root": root})


def _expanded(value: Json) -> Json:
    """Replace `${NAME}` and `${NAME:-default}` in every text by the environment's value."""
    if isinstance(value, Mapping):
        return {key: _expanded(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_expanded(item) for item in value]
    return _VARIABLE.sub(_variable, value) if isinstance(value, str) else value


def _variable(match: re.Match[str]) -> str:
    name, default = match["name"], match["default"]
    if name not in os.environ and default is None:
        raise UsageError(f"config: the environment has no variable {name}")
    return os.environ.get(name) or default or ""


def _changed(data: Mapping[str, Json], change: str) -> dict[str, Json]:
    path, separator, text = change.partition("=")
    if not separator or not path:
        raise UsageError(f"--set {change!r}: expected a.b=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {change!r}: the value is no YAML") from error
    first, _, rest = path.partition(".")
    if not rest:
        return {**data, first: value}
    below = data.get(first) or {}
    if not isinstance(below, Mapping):
        raise UsageError(f"--set {change!r}: {first} is no mapping")
    return {**data, first: _changed(below, f"{rest}={text}")}


def make_stage(name: str, kind: Json, entry: Mapping[str, Json], catalog: Catalog) -> AnyStage:
    """The stage of one entry. Raises UsageError for an unknown kind or parameter, or a value of another type."""
    if not isinstance(kind, str) or kind not in catalog.kinds():
        if isinstance(kind, str) and kind.startswith(f"{INGEST}."):
            readers = [k.removeprefix(f"{INGEST}.") for k in catalog.kinds() if k.startswith(f"{INGEST}.")]
            reader = kind.removeprefix(f"{INGEST}.")
            known_readers = f"(known: {', '.join(readers)})"
            raise UsageError(f"dataset: unknown reader {reader!r}{nearest(reader, readers)} {known_readers}")
        raise UsageError(f"stage {name}: unknown kind {kind!r}{nearest(str(kind), catalog.kinds())}")
    params_type = catalog.params_type(kind)
    where = "dataset" if name == INGEST else f"stage {name}"
    known = [f.name for f in dataclasses.fields(params_type)]
    for key in entry:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}{nearest(str(key), known)}")
    return catalog.create(kind, name, _validated(params_type, entry, where))


def _validated(params_type: type[P], entry: Mapping[str, Json], where: str) -> P:
    """The parameters of an entry. Raises UsageError for a value of another type than the parameter's."""
    try:
        return TypeAdapter(params_type).validate_python(entry)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        choices = choices_of(params_type).get(name)
        if first["type"] == "literal_error" and choices is not None:
            raise UsageError(f"{where}: {not_a_choice(name, choices, first['input'])}") from error
        raise UsageError(f"{where}: {_first_error(error, None)}") from error


def _first_error(error: ValidationError, model: type[BaseModel] | None) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and model is not None:
        known = _known_keys(model, first["loc"])
        return f"unknown key {path!r}{nearest(str(first['loc'][-1]), known)}"
    return f"{path}: {first['msg']}"


def _known_keys(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return list(PoolConfig.model_fields) if issubclass(model, PoolConfig) else []
        model = field.annotation
    return list(model.model_fields)
