"""DDT of one class around the forward pass, its features already made: this project's way and the straightforward one.

`python -m benchmarks.ddt_class ARM IMAGES` runs one arm in a process of its own and prints one JSON object: seconds,
peak resident memory above that before the class, the component's distance from a float64 reference, and the boxes. Both
arms are handed the same batches of 32 x 14 x 14 x 512 float32 in channels-last order, as the network puts them out;
making them is in neither arm's seconds.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from sklearn.decomposition import PCA

from benchmarks.figures import Measured
from benchmarks.pairs import interleaved
from pipeline.worker.device import set_threads
from stages.boxes.boxes import pseudo_boxes
from stages.ddt.ddt import Descriptors, transform
from stages.ddt.parameters import SignRule
from stages.vision.box_rule import BoxRule

IMAGES, BATCH, DIMENSION, GRID, SIDE = 1300, 32, 512, 14, 448
RULE: SignRule = "max_abs_coef"
_ROOT = Path(__file__).parents[1]
_MEGABYTE = 10**6

Arm = Callable[[Iterable[torch.Tensor]], tuple[np.ndarray, list[tuple[int, ...]]]]


def ddt_class(images: int = IMAGES) -> Iterator[Measured]:
    """The ratios of time and of memory, and how far components and boxes of the arms agree."""
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "straightforward": []}

    def seconds(arm: str) -> float:
        found[arm].append(_in_a_process(arm, images))
        return float(found[arm][-1]["seconds"])

    pairs = interleaved(partial(seconds, "straightforward"), partial(seconds, "ours"))
    ours, plain = found["ours"], found["straightforward"]
    note = f"straightforward {pairs.medians[0]:.2f} s, ours {pairs.medians[1]:.2f} s, one thread each"
    yield Measured("ddt_class_time", pairs.ratio, len(ours), pairs.medians[1], note)
    memory = [float(np.median([run["memory"] for run in runs])) for runs in (plain, ours)]
    note = f"straightforward {memory[0]:.0f} MB, ours {memory[1]:.0f} MB above what the process had before"
    yield Measured("ddt_class_memory", memory[0] / memory[1], len(ours), memory[1], note)
    note = "largest difference from the component of float64 sums"
    yield Measured("ddt_class_component", max(run["error"] for run in ours), len(ours), None, note)
    equal = np.mean([a == b for a, b in zip(ours[0]["boxes"], plain[0]["boxes"], strict=True)])
    yield Measured("ddt_class_boxes_equal", 100 * float(equal), 1, None, "of the two arms", unit="%")


def batches(images: int) -> Iterator[torch.Tensor]:
    """Made features of one class, ``(B, 512, 14, 14)``: noise after a ReLU, and a pattern of channels on an object."""
    generator = torch.Generator().manual_seed(0)
    pattern = torch.rand(DIMENSION, generator=generator) * (torch.rand(DIMENSION, generator=generator) < 0.2)
    for start in range(0, images, BATCH):
        count = min(BATCH, images - start)
        values = torch.empty((count, GRID, GRID, DIMENSION))
        values.normal_(-0.5, 1, generator=generator).relu_()
        corners = torch.randint(0, GRID // 2, (count, 2), generator=generator).tolist()
        sides = torch.randint(3, GRID // 2, (count, 2), generator=generator).tolist()
        for image, (top, left), (height, width) in zip(values, corners, sides, strict=True):
            image[top : top + height, left : left + width] += 1.5 * pattern
        yield values.permute(0, 3, 1, 2)


def ours(features: Iterable[torch.Tensor]) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Component and boxes as stages `ddt` and `boxes` make them."""
    descriptors = Descriptors()
    for batch in features:
        descriptors.append(batch)
    found = transform(descriptors, RULE)
    rule = BoxRule(kind="absolute", frame="grid")
    boxes = [pseudo_boxes(score_map, SIDE, SIDE, rule, 0.0).boxes[0, :4] for score_map in found.maps]
    return found.principal.component, [tuple(map(int, box)) for box in boxes]


def straightforward(features: Iterable[torch.Tensor]) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Keep all in float32, PCA of scikit-learn, then image by image projection, components and box."""
    kept = torch.cat(list(features)).permute(0, 2, 3, 1).numpy()
    pca = PCA(1).fit(kept.reshape(-1, DIMENSION))
    boxes: list[tuple[int, ...]] = []
    for image in kept:
        projected = pca.transform(image.reshape(-1, DIMENSION)).reshape(GRID, GRID)
        count, _, found, _ = cv2.connectedComponentsWithStats((projected > 0).astype(np.uint8), connectivity=8)
        if count == 1:
            boxes.append((0, 0, SIDE, SIDE))
            continue
        left, top, width, height = found[1 + found[1:, cv2.CC_STAT_AREA].argmax(), :4] * (SIDE // GRID)
        boxes.append((int(left), int(top), int(left + width), int(top + height)))
    return np.asarray(pca.components_[0]), boxes


ARMS: dict[str, Arm] = {"ours": ours, "straightforward": straightforward}


class _Clocked:
    """Batches, with the time that making them took."""

    def __init__(self, images: int) -> None:
        self.seconds = 0.0
        self._images = images

    def __iter__(self) -> Iterator[torch.Tensor]:
        made = batches(self._images)
        while True:
            started = time.perf_counter()
            batch = next(made, None)
            self.seconds += time.perf_counter() - started
            if batch is None:
                return
            yield batch


def _reference(images: int) -> np.ndarray:
    """The component of float64 sums over the exact features, signed by the same rule."""
    count, total, product = 0, np.zeros(DIMENSION), np.zeros((DIMENSION, DIMENSION))
    for batch in batches(images):
        rows = batch.permute(0, 2, 3, 1).reshape(-1, DIMENSION).double().numpy()
        count += len(rows)
        total += rows.sum(axis=0)
        product += rows.T @ rows
    mean = total / count
    component = np.linalg.eigh(product / count - np.outer(mean, mean))[1][:, -1]
    return np.asarray(component * np.sign(component[np.abs(component).argmax()]))


def _resident(field: str) -> float:
    """A field of /proc/self/status in MB."""
    with open("/proc/self/status", encoding="ascii") as file:
        (line,) = (line for line in file if line.startswith(field))
    return int(line.split()[1]) * 1024 / _MEGABYTE


def _measure(arm: str, images: int) -> dict[str, Any]:
    set_threads(1)
    ARMS[arm](batches(BATCH))  # warm-up: imports, compilation, BLAS
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # resets the peak of resident memory
    before = _resident("VmRSS")
    features = _Clocked(images)
    started = time.perf_counter()
    component, boxes = ARMS[arm](features)
    seconds = time.perf_counter() - started - features.seconds
    memory = _resident("VmHWM") - before
    error = float(np.abs(component - _reference(images)).max())
    return {"seconds": seconds, "memory": memory, "error": error, "boxes": boxes}


def _in_a_process(arm: str, images: int) -> dict[str, Any]:
    arguments = [sys.executable, "-m", "benchmarks.ddt_class", arm, str(images)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(arguments, cwd=_ROOT, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], int(sys.argv[2]))))
