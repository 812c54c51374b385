"""The records of a run: recipes, shards, what a worker makes of a shard, and what is committed of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeAlias, TypedDict

import pyarrow as pa

from pipeline.base.hashing import fingerprint
from pipeline.base.json_types import Json

LabelCounts = Mapping[str, Mapping[str, int]]
"""Split -> class name -> number of images."""

Payload: TypeAlias = pa.Table | Mapping[str, Json] | None
"""Data for the worker of a shard alone; no hash depends on it."""


@dataclass(frozen=True)
class Recipe:
    """Everything that changes a stage's results. `id` identifies it.

    params: the numeric parameters. inputs: slot -> (stage, recipe id) of each stage that is read; empty slots are left
    out. extra: what else changes results, by name, e.g. the hash of a weights file.
    """

    kind: str
    version: int
    params: Mapping[str, Json]
    inputs: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    extra: Mapping[str, Json] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits, the fingerprint of `ingredients`."""
        return fingerprint(self.ingredients())

    def ingredients(self) -> dict[str, Json]:
        """The recipe as JSON-like data."""
        inputs = {slot: [list(pair) for pair in pairs] for slot, pairs in self.inputs.items()}
        own: dict[str, Json] = {"kind": self.kind, "version": self.version, "params": self.params, "inputs": inputs}
        return {**own, **self.extra}

    @classmethod
    def of(cls, said: Mapping[str, Json]) -> "Recipe":
        """The recipe that `ingredients` describes. Raises ValueError for anything else."""
        rest = dict(said)
        kind, version, params, inputs = (rest.pop(name, None) for name in ("kind", "version", "params", "inputs"))
        if not isinstance(kind, str) or not isinstance(version, int):
            raise ValueError("a recipe without kind or version")
        if not isinstance(params, Mapping) or not isinstance(inputs, Mapping):
            raise ValueError("a recipe without params or inputs")
        return cls(kind, version, params, {slot: _pairs(found) for slot, found in inputs.items()}, rest)


def _pairs(said: Json) -> tuple[tuple[str, str], ...]:
    if not isinstance(said, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in said):
        raise ValueError(f"an input of a recipe is a list of pairs, not {said!r}")
    return tuple((str(pair[0]), str(pair[1])) for pair in said if isinstance(pair, list))


@dataclass(frozen=True)
class ShardRef:
    """Names one shard of an upstream stage, done or not. identity: as in `Shard`."""

    stage: str
    recipe: str
    key: str
    identity: str = field(default="", compare=False)


@dataclass(frozen=True)
class Shard:
    """One unit of work: what to read, and the arguments that distinguish it from the other shards of its stage.

    `rows`: images it is planned to see, where that is known. `rows_from`: the input slot all of whose rows it sees.
    `labels`: the images that it sees by split and class, for stages that plan by class. `identity`: used instead of its
    key in the keys of downstream shards, because the key of a data set's shard depends on file times; known once done.
    """

    key: str
    inputs: Mapping[str, tuple[ShardRef, ...]] = field(default_factory=dict)
    args: Mapping[str, Json] = field(default_factory=dict)
    rows: int | None = None
    rows_from: str | None = None
    labels: LabelCounts = field(default_factory=dict)
    payload: Payload = None
    identity: str = ""

    @property
    def said(self) -> Mapping[str, Json]:
        """The payload where it is JSON; nothing where it is a table or absent."""
        return self.payload if isinstance(self.payload, Mapping) else {}

    @property
    def listed(self) -> pa.Table:
        """The rows of the data set's listing that it carries. Raises TypeError where it was planned without one."""
        if not isinstance(self.payload, pa.Table):
            raise TypeError(f"shard {self.key} was not listed: it carries no rows")
        return self.payload


@dataclass(frozen=True)
class Upstream:
    """An upstream stage as its downstream stages see it.

    shards: in plan order. inputs: the stages that it reads, by slot, which have inputs of their own; they may come
    without shards where no downstream stage reads them directly. title: its name for display, e.g. that of a data set;
    no result depends on it.
    """

    name: str
    recipe: Recipe
    shards: Sequence[Shard] = ()
    inputs: Mapping[str, tuple["Upstream", ...]] = field(default_factory=dict)
    title: str = ""

    def refs(self) -> tuple[ShardRef, ...]:
        """References to all its shards, in plan order."""
        return tuple(ShardRef(self.name, self.recipe.id, shard.key, shard.identity) for shard in self.shards)


Inputs = Mapping[str, tuple[Upstream, ...]]


def shard_key(recipe: str, inputs: Mapping[str, tuple[ShardRef, ...]], args: Mapping[str, Json] | None = None) -> str:
    """hash(recipe id, identities or keys of the input shards, arguments)."""
    keys = {slot: [ref.identity or ref.key for ref in refs] for slot, refs in inputs.items()}
    return fingerprint([recipe, keys, dict(args or {})])


class QuarantineRow(TypedDict):
    """A row of table `quarantine`: an image whose content a stage cannot use."""

    image_id: str
    uri: str
    stage: str
    reason: str
    content_hash: str | None


class ImageName(TypedDict):
    """The columns of the images table that identify an image and its bytes."""

    image_id: str
    uri: str
    content_hash: str | None


def quarantined(stage: str, image: ImageName, reason: str) -> QuarantineRow:
    """The quarantine row of an image."""
    return {
        "image_id": image["image_id"],
        "uri": image["uri"],
        "stage": stage,
        "reason": reason,
        "content_hash": image["content_hash"],
    }


@dataclass
class ShardResult:
    """What a worker makes of a shard. Tables follow their schemas; blobs are files (a model, a report).

    `rows_in`: images the worker was given, where only it can know (it read some rows of a part). `identity`: hash of
    the result's content, where it replaces the shard's key in the keys of downstream shards. `labels`: its images by
    split and class, where a stage with identities found others than planned; None: as planned.
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    quarantine: Sequence[QuarantineRow] = ()
    rows_in: int | None = None
    identity: str = ""
    labels: LabelCounts | None = None


@dataclass(frozen=True)
class StoredFile:
    """A committed object. file: path below the run root. rows, schema: of a table: its rows and schema version."""

    file: str
    bytes: int
    sha256: str
    rows: int | None = None
    schema: int | None = None


@dataclass(frozen=True)
class Cost:
    """What a shard took. phases: seconds by phase (pipeline.base.phase_clock). cpu, checking: as in `Done`."""

    phases: Mapping[str, float] = field(default_factory=dict)
    cpu: float = 0.0
    checking: float = 0.0


@dataclass(frozen=True)
class Done:
    """The committed result of a shard: the content of its manifest, whose presence means that it is complete.

    `tables`, `blobs`: its files by name. `ok`: rows of the first table. `seconds`: time that it took; `phases`: the
    same by phase (pipeline.base.phase_clock), and the time that its worker waited before it. `identity`, `labels`: as
    in `ShardResult`. `cpu`, `checking`: processor seconds that it took, and those of them spent on checksums.
    """

    stage: str
    recipe: str
    key: str
    attempt: str
    tables: Mapping[str, StoredFile]
    blobs: Mapping[str, StoredFile]
    ok: int
    quarantined: int
    seconds: float
    phases: Mapping[str, float] = field(default_factory=dict)
    identity: str = ""
    cpu: float = 0.0
    checking: float = 0.0
    labels: LabelCounts | None = None

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """All its files."""
        return (*self.tables.values(), *self.blobs.values())


@dataclass(frozen=True)
class Task:
    """A shard with its inputs resolved to committed results: slot -> Done of every shard that is read."""

    shard: Shard
    inputs: Mapping[str, tuple[Done, ...]]

    def rows_in(self, result: ShardResult) -> int | None:
        """Rows that must come out or be quarantined: as read upstream, as planned, or as the worker counted them."""
        if self.shard.rows_from is not None:
            return sum(done.ok for done in self.inputs[self.shard.rows_from])
        return result.rows_in if result.rows_in is not None else self.shard.rows


class Entry(NamedTuple):
    """A shard of a complete set: its manifest, and the shard as downstream stages see it."""

    done: Done
    shard: Shard


@dataclass(frozen=True)
class CompleteSet:
    """All shards of a stage under one recipe at some time; `name` identifies the set of their keys."""

    stage: str
    recipe: str
    name: str
    entries: Sequence[Entry]

    @cached_property
    def dones(self) -> dict[str, Done]:
        """The manifests: key -> Done, in plan order."""
        return {done.key: done for done, _ in self.entries}

    @property
    def shards(self) -> list[Shard]:
        """The shards as downstream stages see them, in plan order."""
        return [shard for _, shard in self.entries]
