"""The run config: a YAML file, `--set` changes, strict types; it becomes stage objects by way of a catalog."""

import dataclasses
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, TypeAdapter, ValidationError

from pipeline.base.credentials import has_credentials, redacted
from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.base.params import Parameters, choices_of, input_tables, not_a_choice, takes_text
from pipeline.base.suggestions import nearest
from pipeline.config import plain_data
from pipeline.config.implied import IMPLIED, INGEST, NEAR, POLICY, images_of, implied, redirected
from pipeline.config.places import absolute, check_apart
from pipeline.config.refinements import REFINE, with_refinements
from pipeline.config.variables import Variables, as_numbers, names_in
from pipeline.config.yaml_text import read_file, read_value
from pipeline.contract.resources import SAVE_MINUTES, Resources, StageResources
from pipeline.contract.stage import AnyStage
from pipeline.store.layout import DAMAGED, UPLOADS

P = TypeVar("P", bound=Parameters)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_RESERVED = (*IMPLIED, DAMAGED, UPLOADS)
_VARIABLES = "variables"


class Catalog(Protocol):
    """The list of all stage kinds, as the config uses it."""

    def kinds(self) -> Sequence[str]:
        """All stage kinds."""

    def refinements(self) -> Sequence[str]:
        """Kinds that make score maps of score maps."""

    def params_type(self, kind: str) -> type[Parameters]:
        """The parameter dataclass of a kind."""

    def create(self, kind: str, name: str, params: Parameters) -> AnyStage:
        """A stage object."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PoolConfig(_Strict):
    """Resources of one stage: the number of its actors (of a training: its workers), and what each of them takes."""

    actors: int | None = Field(
        None, ge=1, description="processes of a stage (trainings: workers); null: as many as fit"
    )
    cpus: float = Field(1, gt=0, description="CPUs per actor")
    gpus: float = Field(0, ge=0, description="GPUs per actor; a fraction shares one")
    memory: int | None = Field(None, gt=0, description="bytes of memory per actor")
    custom: dict[str, float] = Field({}, description="Ray's custom resources per actor: name -> amount")
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
        """Convert to the record that runners take."""
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

    train: PoolConfig = Field(PoolConfig(actors=1), description="the pool of trainings, one worker unless said")
    stages: dict[str, PoolConfig] = Field({}, description="name of a stage: its own pool")
    num_cpus: int | None = Field(None, ge=1, description="CPUs of a local Ray; null: as many as the machine has")
    grace: float = Field(30.0, ge=0, description="seconds that running shards get to finish after SIGTERM")
    placement: float = Field(60.0, ge=0, description="seconds to wait for a node on which a stage's actors fit")

    def resources(self) -> Resources:
        """Convert to the record that runners take."""
        return Resources(self.build(), self.train.build(), {name: pool.build() for name, pool in self.stages.items()})


class RunConfig(_Strict):
    """A whole run."""

    run_root: str = Field(min_length=1, description="where all of a run is kept: a folder, or any URI of fsspec")
    # Any: pydantic takes what YAML gives as it is; stages check it
    dataset: dict[str, Any] = Field(description="`reader`, `root`, and the other parameters of the reader")
    stages: dict[str, dict[str, Any] | None] = Field(
        {}, description="name of a stage: its parameters; `stage` gives the kind where it is not the name"
    )
    resources: ResourcesConfig = Field(ResourcesConfig(), description="machines and processes; never changes results")
    max_quarantined: float = Field(0.01, ge=0, le=1, description="stop a stage that quarantines a larger fraction")
    _remembered: dict[str, Json] = PrivateAttr(default_factory=dict)

    @property
    def remembered(self) -> Mapping[str, Json]:
        """What a run root keeps of this config, for `parse_remembered`.

        It is the config as written, except that the places of run and data set are absolute. Variables are not
        expanded; their values are kept under `variables`.
        """
        return self._remembered

    @property
    def images(self) -> str:
        """The name of the stage whose images all others read."""
        return images_of(self.dataset)

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
        ingest = make_stage(INGEST, f"{INGEST}.{reader}", dataset, catalog)
        entries: dict[str, dict[str, Any]] = implied(dataset, ingest.title)
        kinds: dict[str, Json] = {name: name for name in entries}
        for name, entry in self._refined(catalog).items():
            if name in _RESERVED:
                raise UsageError(f"stages: {name!r} is reserved, choose another name for this stage")
            if not _NAME.fullmatch(name):
                raise UsageError(f"stages: {name!r} is no name for a stage (small letters, digits, _)")
            entries[name] = dict(entry)
            kinds[name] = entries[name].pop("stage", name)
            _check_whole(name, kinds[name], entries[name])
        made = {name: make_stage(name, kinds[name], entry, catalog, self.images) for name, entry in entries.items()}
        stages = {INGEST: ingest, **made}
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
    data = read_file(path)
    if not isinstance(data, dict):
        raise UsageError(f"config {path}: a mapping with run_root, dataset and stages was expected")
    return parse_config(data, changes, where=path)


def parse_config(data: Mapping[str, Json], changes: Sequence[str] = (), where: str = "config") -> RunConfig:
    """A RunConfig from plain data; `${NAME}` is a variable of the environment. Raises UsageError as `load_config`."""
    return _parsed(data, changes, Variables(os.environ, where, "the environment has no variable {name}"), where)


def parse_remembered(data: Mapping[str, Json], changes: Sequence[str] = (), where: str = "config") -> RunConfig:
    """A RunConfig from what a run root remembers (`RunConfig.remembered`).

    Its variables take the values kept with it, never those of the environment: the run root may be someone else's.

    Raises: UsageError as `load_config`, and for a variable whose value was not kept.
    """
    kept = data.get(_VARIABLES, {})
    if not isinstance(kept, Mapping) or not all(isinstance(value, str) for value in kept.values()):
        raise UsageError(f"{where}: {_VARIABLES} must be a mapping of texts")
    values = {name: str(value) for name, value in kept.items()}
    for name in sorted(names_in(changes)):
        here = os.environ.get(name, "")
        if values.setdefault(name, here) != here:
            raise UsageError(f"--set: {name} is {here!r} here and was {values[name]!r} in {where}: write the value")
    absent = "it needs the variable {name}, whose value was not kept: run the config file instead"
    rest = {key: value for key, value in data.items() if key != _VARIABLES}
    return _parsed(rest, changes, Variables(values, where, absent), where)


def _parsed(data: Mapping[str, Json], changes: Sequence[str], variables: Variables, where: str) -> RunConfig:
    written: dict[str, Json] = dict(data)
    for change in changes:
        written = _changed(written, change, change.partition("=")[0].split("."))
    plain_data.check(written, where)
    written = _with_places(written, lambda place, path: _remembered_place(place, path, variables, where))
    variables.used.clear()
    read = variables.expanded(written)
    config = _validated_run(read, where)
    kept = {_VARIABLES: variables.used} if variables.used else {}
    config._remembered = {**written, **kept}
    return config


def _with_places(data: Mapping[str, Json], settle: Callable[[str, str], str]) -> dict[str, Json]:
    """The config with the place of the run and of each data set replaced by `settle(place, path of its key)`."""
    settled = dict(data)
    if isinstance(root := settled.get("run_root"), str) and root:
        settled["run_root"] = settle(root, "run_root")
    if "dataset" in settled:
        settled["dataset"] = _with_root(settled["dataset"], "dataset", settle)
    stages = settled.get("stages")
    if isinstance(stages, Mapping):
        further = {name: _with_root(stages[name], f"stages.{name}", settle) for name in stages if _lists(stages[name])}
        settled["stages"] = {**stages, **further}
    return settled


def _with_root(entry: Json, path: str, settle: Callable[[str, str], str]) -> Json:
    if isinstance(entry, Mapping) and isinstance(root := entry.get("root"), str) and root:
        return {**entry, "root": settle(root, f"{path}.root")}
    return entry


def _lists(entry: Json) -> bool:
    """Whether an entry of `stages` is a further data set."""
    return isinstance(entry, Mapping) and str(entry.get("stage", "")).startswith(f"{INGEST}.")


def _remembered_place(place: str, path: str, variables: Variables, where: str) -> str:
    try:
        return absolute(str(variables.expanded(place, path)))
    except ValueError as error:
        raise UsageError(f"{where}: {path}: {error}") from error


def _validated_run(data: Json, where: str) -> RunConfig:
    """The checked config. Raises UsageError."""
    for path, value in plain_data.each(data, where):
        if isinstance(value, str) and has_credentials(value):
            raise UsageError(
                f"{where}: {path}: {redacted(value)} holds credentials, and a run root keeps what its config says:"
                " leave them to the storage's own (environment variables, configuration files)"
            )
    texts = ("run_root", "dataset", "stages")
    items = data.items() if isinstance(data, Mapping) else ()
    try:
        config = RunConfig.model_validate({key: item if key in texts else as_numbers(item) for key, item in items})
    except ValidationError as error:
        raise UsageError(f"{where}: {_first_error(error, RunConfig)}") from error
    for entry in (config.dataset, *filter(_lists, config.stages.values())):
        if entry and isinstance(root := entry.get("root"), str) and root:
            check_apart(config.run_root, root)
    return config


def _changed(data: Mapping[str, Json], change: str, path: Sequence[str]) -> dict[str, Json]:
    """The config with the value of a `--set` at a path."""
    if "=" not in change or not path[0]:
        raise UsageError(f"--set {redacted(change)!r}: expected a.b=value")
    if len(path) > plain_data.DEPTH:
        raise UsageError(f"--set {change[:60]}...: more than {plain_data.DEPTH} levels")
    first, *rest = path
    if not rest:
        try:
            return {**data, first: read_value(change.partition("=")[2])}
        except ValueError as error:
            raise UsageError(f"--set {redacted(change)!r}: {error}") from error
    below = data.get(first) or {}
    if not isinstance(below, Mapping):
        raise UsageError(f"--set {redacted(change)!r}: {first} is no mapping")
    return {**data, first: _changed(below, change, rest)}


def _check_whole(name: str, kind: Json, entry: Mapping[str, Json]) -> None:
    """Refuse keys in a further data set that are allowed in `dataset` alone. Raises UsageError."""
    if isinstance(kind, str) and kind.startswith(f"{INGEST}."):
        for key in entry.keys() & {POLICY, NEAR}:
            raise UsageError(
                f"stage {name}: {key} is a key of `dataset` alone: add a stage {{stage: duplicates, images: {name}}}"
                " (docs/datasets.md)"
            )


def make_stage(name: str, kind: Json, entry: Mapping[str, Json], catalog: Catalog, images: str = INGEST) -> AnyStage:
    """The stage of one entry. images: the stage that is read where the entry names `ingest`, or leaves it as default.

    Raises: UsageError for an unknown kind or parameter, or a value of another type.
    """
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
    return catalog.create(kind, name, redirected(kind, _validated(params_type, entry, where), images))


def _validated(params_type: type[P], entry: Mapping[str, Json], where: str) -> P:
    """The parameters of an entry. Raises UsageError for a value of another type than the parameter's.

    Strict: true and "0.3" are no numbers. They are checked as JSON, in which a list may stand for a tuple.
    """
    texts = takes_text(params_type)
    typed = {name: value if name in texts else as_numbers(value) for name, value in entry.items()}
    try:
        return TypeAdapter(params_type).validate_json(json.dumps(typed), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        choices = choices_of(params_type).get(name)
        if choices is not None and isinstance(first["input"], str):
            also = [literal for literal, kind in (("true", "bool"), ("false", "bool")) if kind in first["loc"]]
            raise UsageError(f"{where}: {not_a_choice(name, (*also, *choices), first['input'])}") from error
        raise UsageError(f"{where}: {_first_error(error, None)}") from error


def _first_error(error: ValidationError, model: type[BaseModel] | None) -> str:
    found = error.errors()
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])  # what lacks may be misspelt
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and model is not None:
        known = _known_keys(model, first["loc"])
        return f"unknown key {path!r}{nearest(str(first['loc'][-1]), known)}"
    said = first["input"]
    return f"{path}: {first['msg']}" + (f", not {said!r}" if isinstance(said, (str, int, float)) else "")


def _known_keys(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return list(PoolConfig.model_fields) if issubclass(model, PoolConfig) else []
        model = field.annotation
    return list(model.model_fields)
