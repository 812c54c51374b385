"""Where everything lies below a run root: the one place that spells its paths, and reads them.

layout.json                                       the version of what is written here
config.json, timeline.json                        the newest run: its config, when each stage ran
label.json                                        what `weakbox label` was asked for, where it made the run
_runs/<id>.json                                   one run: who it is, when it was seen last, how it ended
report.html                                       a copy of the newest report
uploads/<sha256>-<name>                           files that a submitted config named, by their content
<stage>/newest.json                               which set a run completed last
<stage>/<recipe>/recipe.json                      what the recipe is made of
<stage>/<recipe>/parts/<key>-<attempt>.<table>.parquet    tables; garbage until a manifest names them
<stage>/<recipe>/blobs/<key>-<attempt>/<name>     models, reports
<stage>/<recipe>/done/<key>.json                  the manifest: the shard is complete
<stage>/<recipe>/sets/<set>.json                  all manifests of a complete set of shards
<stage>/<recipe>/listing.json, rows/              what a data set held when it was listed last, and rows by shard
<stage>/<recipe>/train/<key>/                     the newest checkpoint of a training, and notes of its workers
<stage>/<recipe>/progress/<key>.json              how far a training is
<stage>/<recipe>/tensorboard/<key>/               its curves
<stage>/<recipe>/ray_train/<key>-<attempt>/       Ray Train's own notes
damaged/<moment>/...                              what `verify --repair` moved out of the way, under its own path

Every JSON file is sealed with a checksum (pipeline.store.sealed).
"""

import re
from typing import NamedTuple

from pipeline.base.hashing import DIGITS

VERSION = 3
"""Raised when programs of the version before could no longer read what this one writes, or the other way round."""

MARKER = "layout.json"
CONFIG = "config.json"
TIMELINE = "timeline.json"
LABEL = "label.json"
REPORT = "report.html"
RUNS = "_runs"

UPLOADS = "uploads"
PARTS, BLOBS, MANIFESTS, SETS, ROWS = "parts", "blobs", "done", "sets", "rows"
TRAININGS, PROGRESS, EVENT_FILES, RAY_TRAIN = "train", "progress", "tensorboard", "ray_train"
RECIPE, LISTING = "recipe.json", "listing.json"
DAMAGED = "damaged"
"""No stage may have this name, so this folder is never taken for one."""

_UPLOAD = re.compile(rf"/{UPLOADS}/(?P<sha256>[0-9a-f]{{64}})-[^/]+")
_FINGERPRINT = re.compile(rf"[0-9a-f]{{{DIGITS}}}")


def run_record(name: str) -> str:
    """The record of a run; ids sort in the order in which runs began. No stage may be called `_runs`."""
    return f"{RUNS}/{name}.json"


def newest(stage: str) -> str:
    """Which set of a stage a run completed last."""
    return f"{stage}/newest.json"


def upload(sha256: str, name: str) -> str:
    """A file from the machine that submitted a run, by its content and its own name."""
    return f"{UPLOADS}/{sha256}-{name}"


def upload_sha256(place: str) -> str | None:
    """The checksum in the path or URI of an upload; None for any other place."""
    found = _UPLOAD.search(place)
    return found["sha256"] if found and found.end() == len(place) else None


def is_recipe(name: str) -> bool:
    """Whether a name below a stage's folder is that of a recipe."""
    return _FINGERPRINT.fullmatch(name) is not None


def is_file_of_stage(name: str) -> bool:
    """Whether a name below a stage's folder is a file beside the folders of its recipes, whose names have no dot."""
    return "." in name


class RecipeFolder(NamedTuple):
    """The folder of one recipe of a stage."""

    stage: str
    recipe: str

    @property
    def path(self) -> str:
        """Its path below the run root."""
        return f"{self.stage}/{self.recipe}"

    @property
    def recipe_file(self) -> str:
        """What the recipe is made of, to explain later changes."""
        return f"{self.path}/{RECIPE}"

    @property
    def listing(self) -> str:
        """The shards that the data set had when it was listed last."""
        return f"{self.path}/{LISTING}"

    def area(self, name: str) -> str:
        """The folder of all parts, blobs, manifests, sets and so on."""
        return f"{self.path}/{name}"

    def part(self, key: str, attempt: str, table: str) -> str:
        """One table of one attempt at a shard."""
        return f"{self.path}/{PARTS}/{key}-{attempt}.{table}.parquet"

    def blob(self, key: str, attempt: str, name: str) -> str:
        """One blob of one attempt at a shard."""
        return f"{self.path}/{BLOBS}/{key}-{attempt}/{name}"

    def manifest(self, key: str) -> str:
        """The manifest of a shard."""
        return f"{self.path}/{MANIFESTS}/{key}.json"

    def complete_set(self, name: str) -> str:
        """A complete set."""
        return f"{self.path}/{SETS}/{name}.json"

    def row_list(self, number: int, key: str) -> str:
        """The rows of one shard of a data set; lists sort in the order in which they were planned."""
        return f"{self.path}/{ROWS}/{number:08d}-{key}.json"

    def training(self, key: str) -> str:
        """What a training keeps until it is committed."""
        return f"{self.path}/{TRAININGS}/{key}"

    def checkpoint(self, key: str) -> str:
        """The newest checkpoint of a training, whichever runner made it."""
        return f"{self.training(key)}/state.pt"

    def begun(self, key: str) -> str:
        """Where rank 0 of a training says that its process is at work."""
        return f"{self.training(key)}/begun"

    def refused(self, key: str) -> str:
        """Where a training's worker says why it gave up for good."""
        return f"{self.training(key)}/refused.json"

    def stop(self, key: str) -> str:
        """Where a driver asks a training's workers to save what they have and to end."""
        return f"{self.training(key)}/stop"

    def progress(self, key: str) -> str:
        """Where a training says how far it is: a small JSON object that each checkpoint replaces."""
        return f"{self.path}/{PROGRESS}/{key}.json"

    def event_files(self, key: str) -> str:
        """The folder of a training's event files, for TensorBoard."""
        return f"{self.path}/{EVENT_FILES}/{key}"


class Place(NamedTuple):
    """A path below a run root, taken apart by `parse`; the methods of `RecipeFolder` make paths.

    area: the folder or file directly below the recipe. name: what follows it, empty for a file. depth: number of parts.
    """

    folder: RecipeFolder
    area: str
    name: str
    depth: int

    @property
    def key(self) -> str:
        """The key of the shard that a file of a training belongs to; Ray Train's folders are named key-attempt."""
        return self.name.rpartition("-")[0] if self.area == RAY_TRAIN else self.name.removesuffix(".json")

    @property
    def own_folder(self) -> str:
        """The folder that holds this file and nothing of other attempts; empty where there is none."""
        return f"{self.folder.path}/{self.area}/{self.name}" if self.depth > 4 else ""


def parse(path: str) -> Place | None:
    """The place of a file; None for one that belongs to no recipe."""
    parts = path.split("/")
    if len(parts) < 3 or not is_recipe(parts[1]):
        return None
    return Place(RecipeFolder(parts[0], parts[1]), parts[2], parts[3] if len(parts) > 3 else "", len(parts))


def owner(path: str) -> tuple[RecipeFolder, str]:
    """The recipe's folder, and the name without `.json`, of a manifest or a set."""
    stage, recipe, _, file = path.rsplit("/", 3)
    return RecipeFolder(stage, recipe), file.removesuffix(".json")


def row_list_key(name: str) -> tuple[int, str]:
    """Planning number and shard key of a row list, from its file name."""
    number, _, key = name.removesuffix(".json").partition("-")
    return int(number), key
