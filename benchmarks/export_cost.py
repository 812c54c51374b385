"""What an export costs: rows a CPU second and peak memory at ImageNet's size, and that a kill changes no byte.

`python -m benchmarks.export_cost ROOT FORMAT OUT` is the process that is measured: an export of the rows that
`make_run` wrote, which prints its CPU seconds and its peak memory at the end.
"""

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from benchmarks.figures import Measured
from pipeline.store.records import Done, ShardResult
from pipeline.store.store import Store
from schemas import TABLES
from stages.vision.masks import encode

ROWS, KILLED_ROWS = 1_281_167, 128_117
SHARD, CLASSES = 1_000, 1_000
FORMATS = ("coco", "yolo", "parquet")
_WIDTH, _HEIGHT, _MASKS = 500, 375, 64
_ROOT = Path(__file__).parent.parent


class Spent(NamedTuple):
    """What one process used. cpu: seconds. memory: peak resident bytes."""

    cpu: float
    memory: int


def export_cost(folder: Path, rows: int = ROWS, killed_rows: int = KILLED_ROWS) -> Iterator[Measured]:
    """Rows a CPU second and the peak of each format; then each killed half-way, finished and compared."""
    run, memory = make_run(folder / "run", rows), 0
    for form in FORMATS:
        spent = _export(run, form, folder / form)
        memory = max(memory, spent.memory)
        yield Measured(f"{form}_rows", rows / spent.cpu, 1, reason=_said(rows))
        shutil.rmtree(folder / form)
    yield Measured("peak_memory", memory / 1e9, 1, reason=_said(rows))
    run = make_run(folder / "less", killed_rows)
    for form in FORMATS:
        _export(run, form, folder / form)
        same = _killed(run, form, folder / "killed") == _digest(folder / form)
        yield Measured(f"{form}_same_after_kill", float(same), 1, reason=_said(killed_rows))


def _said(rows: int) -> str:
    return f"{rows:,} rows with masks in {-(-rows // SHARD):,} shards"


def make_run(root: Path, rows: int) -> Path:
    """A run root with images and pseudo labels of that many rows, their masks ellipses of 64 kinds."""
    store, pool = Store(str(root)), [_mask(number) for number in range(_MASKS)]
    for first in range(0, rows, SHARD):
        numbers = range(first, min(first + SHARD, rows))
        for stage, table, made in (
            ("ingest", "images", [_image(number) for number in numbers]),
            ("boxes", "pseudo_labels", [_label(number, *pool[number % _MASKS]) for number in numbers]),
        ):
            store.commit(stage, "0" * 16, f"{first:08d}", ShardResult({table: TABLES[table].from_rows(made)}))
    return root


def _shared(number: int) -> dict[str, Any]:
    label = number // 1_300 % CLASSES
    return {"image_id": f"train/n{label:08d}/n{label:08d}_{number}.JPEG", "label": label, "split": "train"}


def _image(number: int) -> dict[str, Any]:
    shared = _shared(number)
    place = {"uri": f"dataset://ingest/{shared['image_id']}", "width": _WIDTH, "height": _HEIGHT}
    return {**shared, **place, "label_name": f"n{shared['label']:08d}", "content_hash": f"{number:064x}"}


def _label(number: int, rle: Any, box: Sequence[float]) -> dict[str, Any]:
    size = {"image_height": _HEIGHT, "image_width": _WIDTH, "components": 1}
    scored = dict(zip(("x0", "y0", "x1", "y1", "score"), (*box, 0.5), strict=True))
    return {**_shared(number), **size, "method": "cam", "source": "boxes", "boxes": [scored], "masks": [rle]}


def _mask(number: int) -> tuple[Any, list[float]]:
    """A wavy ellipse, and its box."""
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    radius = 1 + 0.1 * np.sin(angles * (3 + number % 7))
    x = 250 + (60 + 2 * number) * radius * np.cos(angles)
    y = 187 + (40 + 2 * number) * radius * np.sin(angles)
    mask = np.zeros((_HEIGHT, _WIDTH), np.uint8)
    cv2.fillPoly(mask, [np.stack([x, y], axis=1).astype(np.int32)], 1)
    rows, columns = np.nonzero(mask)
    corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return encode(mask.astype(bool)), [float(corner) for corner in corners]


def _export(run: Path, form: str, out: Path) -> Spent:
    done = subprocess.run(_command(run, form, out), cwd=_ROOT, check=True, capture_output=True, text=True)
    return Spent(*json.loads(done.stdout.splitlines()[-1]))


def _killed(run: Path, form: str, out: Path) -> str:
    """The digest of an export that was killed once half of its parts were there, and then finished."""
    process = subprocess.Popen(_command(run, form, out), cwd=_ROOT, stdout=subprocess.DEVNULL)
    half = len(list((run / "boxes" / ("0" * 16) / "done").glob("*.json"))) // 2
    while process.poll() is None and len(list((out / ".weakbox-export").glob("*.names"))) < half:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if (out / "data.yaml").exists() or (out / "labels.parquet").exists():
        raise RuntimeError("it was complete before it was killed")
    _export(run, form, out)
    digest = _digest(out)
    shutil.rmtree(out)
    return digest


def _command(run: Path, form: str, out: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.export_cost", str(run), form, str(out)]


def _digest(folder: Path) -> str:
    """SHA-256 of all names and bytes below a folder."""
    found = hashlib.sha256()
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(parent, name)
            found.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def _measured(root: str, form: Any, out: str) -> Spent:
    """Export in this process."""
    from jobs.exporting import Exporting, Source
    from stages.bases.export_choice import ExportChoice

    store = Store(root)
    labels, images = _dones(store, "boxes"), _dones(store, "ingest")
    source = Source(store, "boxes", "pseudo_labels", labels, images, {"ingest": "data"})
    params = ExportChoice(format=form)
    Exporting(source, params, out, overwrite=False).write()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Spent(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def _dones(store: Store, stage: str) -> list[Done]:
    folder = Path(store.files.root, stage, "0" * 16, "done")
    keys = sorted(path.stem for path in folder.glob("*.json"))
    found = store.done(stage, "0" * 16, keys)
    return [found[key] for key in keys]


if __name__ == "__main__":
    print(json.dumps(_measured(*sys.argv[1:])))
