"""What it costs to plan a run over 1,331,167 files: the first time, and once it is finished."""

import json
import statistics
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.command_cost import command_cost
from benchmarks.figures import Measured
from benchmarks.linked_images import CLASSES, IMAGES
from benchmarks.listed_run import run_on_listing

REPEATS = 3
TRUSTING = ("--set", "dataset.rescan=false", "--json", "-")


def listing_cost(folder: Path, root: Path) -> Iterator[Measured]:
    """Processor seconds and memory of `weakbox plan`, and its seconds with `rescan: false` once the run is finished.

    The first plan is that of a machine that never planned: it also builds the network, which imports torch.
    """
    config = _config(folder, "first", root, {"classify": {"backbone": "smallnet"}, "cam": None})
    first = [
        command_cost("plan", str(config), environment={"XDG_CACHE_HOME": str(folder / f"cache{repeat}")})
        for repeat in range(REPEATS)
    ]
    again = command_cost("plan", str(config), environment={"XDG_CACHE_HOME": str(folder / "cache0")})
    said = f"{IMAGES} files in {CLASSES} folders, user + system, ingest, classify and cam; with torch"
    without = f"{again.cpu:.1f} s and {again.memory / 1e9:.2f} GB where its verdict on the network is kept"
    yield Measured("first_plan", statistics.median(each.cpu for each in first), REPEATS, reason=f"{said}; {without}")
    memory = max(each.memory for each in first)
    yield Measured("first_plan_memory", memory / 1e9, REPEATS, reason="peak resident memory; the largest of them")
    yield from _finished(_config(folder, "finished", root, {}))


def _finished(config: Path) -> Iterator[Measured]:
    run_on_listing(config)
    costs = [command_cost("plan", str(config), *TRUSTING) for _ in range(REPEATS)]
    if any(row["state"] != "done" for row in json.loads(costs[0].said)):
        raise RuntimeError(f"the finished run has something to run: {costs[0].said}")
    said = f"user + system; ingest's commits are real, of made tables; {costs[0].memory / 1e9:.2f} GB"
    yield Measured("finished_plan", statistics.median(cost.cpu for cost in costs), REPEATS, reason=said)
    listed = command_cost("plan", str(config))
    said = f"the same with rescan: true; {listed.memory / 1e9:.2f} GB"
    yield Measured("finished_plan_rescanned", listed.cpu, 1, reason=said, unit="s")


def _config(folder: Path, name: str, root: Path, stages: dict[str, object]) -> Path:
    path = folder / f"{name}.yaml"
    dataset = {"reader": "folder", "root": str(root)}
    path.write_text(yaml.safe_dump({"run_root": str(folder / name), "dataset": dataset, "stages": stages}))
    return path
