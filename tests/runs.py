"""A tiny run of the real stages, in this process: what stage and command tests look at."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jobs.target import Target, open_store
from pipeline.base.dataset_uri import split_dataset_uri
from pipeline.config.run_config import parse_config
from pipeline.planning.plan import make_plan
from pipeline.running.in_process import InProcessRunner
from pipeline.running.progress import NoProgress
from pipeline.running.run import Run, RunOptions
from pipeline.store.records import Done
from stages import catalog
from stages.ingest.demo import compose

TRAIN, TEST = 48, 12

DEV_FRACTION = 0.2

STAGES: dict[str, Any] = {
    "classify": {"epochs": 1, "batch_size": 16, "refit": "never"},
    "classes": {"stage": "localize", "model": "classify"},
    "cam": {},
    "ddt": {},
    "sweep_cam": {"stage": "sweep", "maps": "cam"},
    "sweep_ddt": {"stage": "sweep", "maps": "ddt"},
    "calibrate": {"counts": "sweep_cam"},
    "boxes_cam": {"stage": "boxes", "maps": "cam", "thresholds": "calibrate"},
    "boxes_ddt": {"stage": "boxes", "maps": "ddt", "threshold": 0.0, "kind": "absolute", "frame": "grid"},
    "psol": {"labels": "boxes_cam", "epochs": 1, "batch_size": 16},
    "psol_boxes": {"stage": "localize", "model": "psol"},
    "evaluate": {
        "classes": "classes",
        "labels": ["boxes_cam", "boxes_ddt"],
        "predictions": ["psol_boxes"],
        "counts": ["sweep_cam", "sweep_ddt"],
        "splits": ["test"],
    },
}


def config(data: Path | str, root: Path | str) -> dict[str, Any]:
    """The config of the tiny run: a folder data set of demo images, ten images a shard, one epoch."""
    dataset = {"reader": "folder", "root": str(data), "dev_fraction": DEV_FRACTION, "shard_size": 10}
    return {"run_root": str(root), "dataset": dataset, "stages": STAGES, "max_quarantined": 1.0}


def make_data(folder: Path) -> Path:
    """Sixty demo images of 64 pixels as an ordinary folder data set with boxes and masks."""
    compose(folder, train=TRAIN, test=TEST)
    return folder


def target_of(data: dict[str, Any]) -> Target:
    """The opened run of a config."""
    parsed = parse_config(data)
    return Target(parsed, parsed.stage_objects(catalog), open_store(parsed.run_root))


def execute(target: Target, **options: Any) -> dict[str, int]:
    """Run in this process; returns the number of shards computed for each stage."""
    resources = target.config.resources.resources()
    chosen = RunOptions(max_quarantined=1.0, **options)
    return Run(target.stages, target.store, InProcessRunner, resources, NoProgress(), chosen).execute()


def missing(target: Target) -> dict[str, list[str]]:
    """stage -> keys of the shards that are to run, of the stages that have any."""
    planned = make_plan(target.stages, target.store)
    return {name: [shard.key for shard in stage.missing] for name, stage in planned.items() if stage.missing}


def dones(target: Target, stage: str) -> list[Done]:
    """The committed shards of a finished stage, in plan order."""
    newest = target.store.newest(stage)
    assert newest is not None, f"{stage} was never completed"
    complete = target.store.complete_set(stage, *newest)
    return [] if complete is None else list(complete.dones.values())


def rows(target: Target, stage: str, table: str) -> list[dict[str, Any]]:
    """All rows of a table of a finished stage."""
    return [row for done in dones(target, stage) for row in target.store.table(done, table).to_pylist()]


def images(target: Target, split: str | None = None) -> dict[str, dict[str, Any]]:
    """The images by id, each with its ground-truth boxes (None without) and the files of image and masks."""
    truth = {row["image_id"]: row for row in rows(target, "truth", "truth")}
    found = {}
    for row in rows(target, "ingest", "images"):
        if split in (None, row["split"]):
            known = truth.get(row["image_id"], {"boxes": None, "mask_uris": []})
            masks = [path_of(target, uri) for uri in known["mask_uris"]]
            file = path_of(target, row["uri"])
            found[row["image_id"]] = {**row, "gt_boxes": known["boxes"], "file": file, "masks": masks}
    return found


def path_of(target: Target, uri: str) -> Path:
    """Where a file of the data set is."""
    named = split_dataset_uri(uri)
    assert named is not None, uri
    return Path(target.config.dataset["root"]) / named[1]


def rewrite_boxes(data: Path, change: Callable[[dict[str, str]], Iterable[dict[str, str]]]) -> None:
    """Rewrite boxes.csv line by line."""
    path = data / "boxes.csv"
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ("image_id", "x0", "y0", "x1", "y1"))
        writer.writeheader()
        for line in lines:
            writer.writerows(change(line))
