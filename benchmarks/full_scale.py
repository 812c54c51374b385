"""ImageNet in full, on made pictures: `python -m benchmarks.full_scale FOLDER [--images N] [--kill]`.

1,281,167 training and 50,000 validation JPEGs of 128x96 pixels, hard links to 64 pictures, in 1,000 classes; true boxes
of val and dev. The chain of imagenet.yaml with smallnet at 64 pixels, from `ingest` to `report`, then `verify` and the
exports to coco and yolo. A watch on the processes measures each stage. With --kill the run is killed twice, and resumed
by the same command. To compare two sizes, run both: there are figures of the cost of an image.

It takes an hour on two cores and some 10 GB of disk; nothing else should run.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import psutil
import yaml

from benchmarks.bare_loop import BareLoop
from benchmarks.command_cost import command_cost
from benchmarks.environment import environment
from benchmarks.figures import Bar, Measured, rows, table, write
from benchmarks.made_images import FILES, paint
from benchmarks.process_watch import Taken, Watch
from stages.ingest.scan import is_dev
from stages.vision.model_card import CARD, WEIGHTS

TRAIN, VAL, CLASSES = 1_281_167, 50_000, 1_000
WIDTH, HEIGHT, SIZE = 128, 96, 64
_DEV = 0.1
_KILLED = {"cam": 0.5, "boxes_ddt": 0.3}
"""Stage -> share of its shards after which the run is killed."""
_ALLOWED = ("ingest", "evaluate", "report")
"""Stages whose driver may hold a table of all images."""
_BARE, _FIRST, _BATCH = 20_000, 1_000, 32
"""Images of the bare loop, those before them, which pay for its start, and its batch."""
BARS = {
    "minutes": Bar(75, "<=", "min"),
    "verify_cpu": Bar(60, "<=", "s"),
    "rows_lost": Bar(0, "<=", "rows"),
    "driver_most": Bar(1.5, "<=", "GB"),
    "driver_elsewhere": Bar(0.5, "<=", "GB"),
    "worker_most": Bar(1.2, "<=", "GB"),
    "evaluate_cpu": Bar(120, "<=", "s"),
    "report_cpu": Bar(60, "<=", "s"),
    "cam_cpu_to_bare_loop": Bar(1.25, "<=", "times"),
    "ddt_cpu_to_bare_loop": Bar(1.25, "<=", "times"),
    "report_size": Bar(15, "<=", "MB"),
}
_ROOT = Path(__file__).parent.parent


def stages(tenth: Path) -> dict[str, Any]:
    """The chain; tenth: a CSV of boxes of a tenth of train, which psol is trained on."""
    return {
        "classify": {"backbone": "smallnet", "epochs": 0, "input_size": SIZE, "refit": "never"},
        "classes": {"stage": "localize", "model": "classify", "splits": ["dev", "val"]},
        "cam": {},
        "ddt": {},
        "sweep_cam": {"stage": "sweep", "maps": "cam", "splits": ["dev", "val"]},
        "sweep_ddt": {"stage": "sweep", "maps": "ddt", "splits": ["dev", "val"]},
        "calibrate_cam": {"stage": "calibrate", "counts": "sweep_cam"},
        "boxes_cam": {"stage": "boxes", "maps": "cam", "thresholds": "calibrate_cam"},
        "boxes_ddt": {"stage": "boxes", "maps": "ddt", "threshold": 0.0, "kind": "absolute", "frame": "grid"},
        "tenth": {"stage": "import", "boxes": str(tenth), "splits": ["train"]},
        "psol": {"labels": "tenth", "epochs": 1, "batch_size": 256, "learning_rate": 0.001},
        "psol_boxes": {"stage": "localize", "model": "psol"},
        "evaluate": {
            "classes": "classes",
            "labels": ["boxes_cam", "boxes_ddt"],
            "predictions": ["psol_boxes"],
            "counts": ["sweep_cam", "sweep_ddt"],
            "splits": ["val"],
        },
        "report": {"maps": ["cam", "ddt"], "labels": ["boxes_cam", "boxes_ddt"], "predictions": ["psol_boxes"]},
        "export": {"labels": "boxes_ddt"},
    }


def make(folder: Path, train: int, val: int) -> Path:
    """The data set, its boxes, and the config; returns the config's path."""
    data = folder / "data"
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    boxes = []
    for number in range(FILES):
        image, corners = paint(number)
        factor = WIDTH / image.shape[1]
        small = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        (pictures / f"{number}.jpg").write_bytes(cv2.imencode(".jpg", small)[1].tobytes())
        boxes.append(",".join(f"{corner * factor:g}" for corner in corners))
    known, tenth = open(folder / "boxes.csv", "w"), open(folder / "tenth.csv", "w")  # noqa: SIM115
    with known, tenth:
        for file in (known, tenth):
            file.write("image_id,x0,y0,x1,y1\n")
        for split, images in (("train", train), ("val", val)):
            for label in range(CLASSES):
                place = f"{split}/n{label:08d}"
                (data / place).mkdir(parents=True)
                for number in range(label * images // CLASSES, (label + 1) * images // CLASSES):
                    image_id = f"{place}/n{label:08d}_{number}.JPEG"
                    os.link(pictures / f"{number % FILES}.jpg", data / image_id)
                    if split == "val" or is_dev(image_id, _DEV):
                        known.write(f"{image_id},{boxes[number % FILES]}\n")
                    elif number % 10 == 0:
                        tenth.write(f"{image_id},{boxes[number % FILES]}\n")
    (folder / "boxes.csv").rename(data / "boxes.csv")
    config = {
        "run_root": str(folder / "run"),
        "dataset": {"reader": "folder", "root": str(data), "dev_fraction": _DEV},
        "stages": stages(folder / "tenth.csv"),
        "resources": {"num_cpus": 2, "actors": 2, "train": {"actors": 1, "cpus": 2}},
    }
    path = folder / "full.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def run(config: Path, log: Path, *, kill: bool) -> tuple[float, dict[str, Taken]]:
    """Run to the end; wall seconds, and what each stage took over all starts."""
    taken: dict[str, Taken] = {}
    waiting = dict(_KILLED) if kill else {}
    started = time.monotonic()
    while True:
        command = [sys.executable, "-m", "jobs.cli", "--log-format", "logfmt", "run", str(config)]
        with log.open("a") as file:
            process = subprocess.Popen(
                command, cwd=_ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
            with Watch(psutil.Process(process.pid), log, taken):
                killed = _wait(process, config, waiting)
        if not killed:
            break
    if process.returncode:
        raise SystemExit(f"the run ended with exit code {process.returncode}, see {log}")
    return time.monotonic() - started, taken


def _wait(process: subprocess.Popen[bytes], config: Path, waiting: dict[str, float]) -> bool:
    """Wait until the run ends, or kill it at the next planned moment; returns whether it was killed."""
    while process.poll() is None:
        time.sleep(1)
        for stage, share in waiting.items():
            listed = sum(1 for _ in (config.parent / "run" / "ingest").glob("*/done/*.json"))
            done = sum(1 for _ in (config.parent / "run" / stage).glob("*/done/*.json"))
            if listed and done >= share * listed:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                del waiting[stage]
                return True
    return False


def measure(config: Path, train: int, val: int, *, kill: bool) -> Iterator[Measured]:
    """All figures of one size."""
    log, images = config.parent / "run.log", train + val
    seconds, taken = run(config, log, kill=kill)
    said = f"{images:,} images{', killed twice' if kill else ''}"
    yield Measured("minutes", seconds / 60, 1, reason=said)
    for stage, own in taken.items():
        yield Measured(f"{stage}_wall", own.wall, 1, reason=said, unit="s")
        yield Measured(f"{stage}_cpu", own.cpu, 1, reason=said, unit="s")
        yield Measured(f"{stage}_cpu_an_image", 1e3 * own.cpu / images, 1, reason=said, unit="ms")
        yield Measured(f"{stage}_driver", own.driver / 1e9, 1, reason=said, unit="GB")
        yield Measured(f"{stage}_worker", own.worker / 1e9, 1, reason=said, unit="GB")
        yield Measured(f"{stage}_written", _size(config.parent / "run" / stage) / 1e6, 1, reason=said, unit="MB")
    yield Measured("driver_most", max(own.driver for own in taken.values()) / 1e9, 1, reason=said)
    elsewhere = {stage: own.driver / 1e9 for stage, own in taken.items() if stage not in _ALLOWED}
    largest = max(elsewhere, key=lambda stage: elsewhere[stage])
    yield Measured("driver_elsewhere", elsewhere[largest], 1, reason=f"{said}; in {largest}")
    yield Measured("worker_most", max(own.worker for own in taken.values()) / 1e9, 1, reason=said)
    yield Measured("report_size", (config.parent / "run" / "report.html").stat().st_size / 1e6, 1, reason=said)
    yield Measured("rows_lost", float(_lost(config, images)), 1, reason=f"{said}; of ingest, cam, ddt and both boxes")
    bare = _bare_cpu(config, min(_BARE, train - _FIRST))
    for stage in ("cam", "ddt"):
        ratio = taken[stage].cpu / images / bare
        yield Measured(f"{stage}_cpu_to_bare_loop", ratio, 1, baseline_value=1e3 * bare, reason=f"{said}; baseline: ms")
    spent = command_cost("verify", str(config))
    yield Measured("verify_cpu", spent.cpu, 1, reason=said)
    yield Measured("verify_memory", spent.memory / 1e9, 1, reason=said, unit="GB")
    for form in ("coco", "yolo"):
        spent = command_cost("export", str(config), "--format", form, "--out", str(config.parent / form))
        yield Measured(f"export_{form}_cpu", spent.cpu, 1, reason=said, unit="s")
        yield Measured(f"export_{form}_memory", spent.memory / 1e9, 1, reason=said, unit="GB")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _lost(config: Path, images: int) -> int:
    """Rows that are missing in the stages over all images; quarantined rows count as present."""
    from jobs.target import open_target

    target, lost = open_target(str(config)), 0
    for stage in ("ingest", "cam", "ddt", "boxes_cam", "boxes_ddt"):
        complete = target.store.newest_set(stage)
        dones = () if complete is None else complete.dones.values()
        lost += abs(images - sum(done.ok + done.quarantined for done in dones))
    return lost


def _bare_cpu(config: Path, images: int) -> float:
    """Processor seconds an image of reading, decoding and the network's features alone, without the loop's start."""
    from jobs.target import open_target

    store = open_target(str(config)).store
    complete = store.newest_set("classify")
    assert complete is not None
    (done,) = complete.dones.values()
    model = {name: store.blob(done, name) for name in (CARD, WEIGHTS)}
    paths = [path for _, path in zip(range(images + _FIRST), (config.parent / "data").glob("train/*/*"), strict=False)]
    spent = []
    for count in (_FIRST, images + _FIRST):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with BareLoop(1, model, SIZE, _BATCH) as loop:
            loop([paths[start : start + 1_000] for start in range(0, count, 1_000)])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return (spent[1] - spent[0]) / images


def main() -> None:
    """Make, run, measure, write benchmarks/results/full_scale[_SIZE].json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.full_scale")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=TRAIN, help="training images; as many of val in proportion")
    parser.add_argument("--kill", action="store_true", help="kill the run twice")
    asked = parser.parse_args()
    val = max(CLASSES, VAL * asked.images // TRAIN)
    before: Mapping[str, Any] = environment()
    config = make(asked.folder, asked.images, val)
    name = "full_scale" if asked.images == TRAIN else f"full_scale_{asked.images}"
    command = f"python -m benchmarks.full_scale FOLDER --images {asked.images}{' --kill' if asked.kill else ''}"
    found: list[dict[str, Any]] = []
    for measured in measure(config, asked.images, val, kill=asked.kill):
        found += rows([measured], BARS, command, before)
        write(name, found)
        print(json.dumps({key: found[-1][key] for key in ("figure", "value", "unit", "met")}), flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
