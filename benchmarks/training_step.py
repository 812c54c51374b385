"""What training a localizer costs against plain cross-entropy on the same network, in time a step or images a second.

All arms are the stages' own trainings, as the shared epoch loop runs them; the images lie in memory, so that decoding,
which is the same for all, does not hide a cost. SPA is measured with its restricted activation loss switched on, I2C
after its warm-up. Needs no Ray.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks.figures import Measured
from benchmarks.pairs import REPEATS, interleaved
from benchmarks.rates import wait
from pipeline.training.loop import Training, train
from pipeline.training.step import Batch
from stages.i2c.options import I2cParams
from stages.i2c.trainer import I2cTrainer
from stages.minmax.options import MinmaxParams
from stages.minmax.trainer import MinmaxTrainer
from stages.psol.options import PsolParams
from stages.psol.regressor import BoxRegressor
from stages.psol.trainer import PsolTrainer
from stages.spa.options import SpaParams
from stages.spa.trainer import SpaTrainer
from stages.vision.backbones.build import build
from stages.vision.memory_format import channels_last
from stages.vision.precision import Precision

PLAIN = "plain"
SET_SIZES: Mapping[str, int] = {"i2c": 2, "spa": 2, "minmax": 5}
"""Images of a class that stand side by side in a batch."""
_BOX = ("pseudo_box", np.array([0.0, 0.0, 32.0, 32.0]))


@dataclass(frozen=True)
class Setting:
    """What is trained, and where. steps: number of training steps in one measurement."""

    backbone: str = "mobilenet_v2"
    size: int = 128
    batch: int = 40
    classes: int = 200
    steps: int = 2
    device: str = "cpu"
    precision: Precision = "float32"


def training_steps(repeats: int = REPEATS, setting: Setting = Setting()) -> Iterator[Measured]:
    """Seconds of a step of I2C, SPA (RAM) and MinMax, each against those of plain cross-entropy; one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for kind, set_size in SET_SIZES.items():
            candidate, baseline = arm(kind, set_size, setting), arm(PLAIN, set_size, setting)
            candidate(), baseline()
            pairs = interleaved(candidate, baseline, repeats)
            seconds, plain = pairs.medians
            note = f"batch {setting.batch}: {seconds:.2f} s a step, plain cross-entropy {plain:.2f} s"
            yield Measured(f"{kind}_step_to_plain", pairs.ratio, repeats, plain, note, "ratio")
    finally:
        torch.set_num_threads(threads)


def training_rates(setting: Setting, repeats: int = 3) -> Iterator[Measured]:
    """Images a second of the plain classifier and of each localizer on a device, and ratios of their seconds."""
    said = f"{setting.backbone} at {setting.size}, batches of {setting.batch}, {setting.precision}, images in memory"
    kinds = (PLAIN, "psol", *SET_SIZES)
    arms = {kind: arm(kind, SET_SIZES.get(kind, 1), setting) for kind in kinds}
    for warmed in arms.values():
        warmed()
    rounds = [{kind: seconds() for kind, seconds in arms.items()} for _ in range(repeats)]
    median = {kind: float(np.median([one[kind] for one in rounds])) for kind in kinds}
    plain = setting.batch / median[PLAIN]
    for kind in kinds:
        title = f"{setting.device}_train_{kind}"
        yield Measured(f"{title}_rate", setting.batch / median[kind], repeats, plain, said, "images/s")
        if kind != PLAIN:
            ratio = float(np.median([one[kind] / one[PLAIN] for one in rounds]))
            yield Measured(f"{title}_step_to_plain", ratio, repeats, median[PLAIN], said, "ratio")


def arm(kind: str, set_size: int, setting: Setting) -> Callable[[], float]:
    """A function that takes the setting's steps of a training and returns seconds a step."""
    training = _training(kind, setting)
    source = torch.Generator().manual_seed(0)
    images = torch.randn(setting.batch, 3, setting.size, setting.size, generator=source)
    labels = (torch.arange(setting.batch // set_size) % setting.classes).repeat_interleave(set_size)
    targets = torch.rand(setting.batch, 6, generator=source) if kind == "psol" else labels
    batch = (images.contiguous(memory_format=torch.channels_last), targets)
    on_device = tuple(part.to(setting.device) for part in batch)
    fixed = dataclasses.replace(
        training, batches=_Repeated(on_device, setting.steps), epochs=1, precision=setting.precision
    )
    place = _place(setting.device)

    def seconds() -> float:
        wait(setting.device)
        started = time.perf_counter()
        train(fixed, place)
        wait(setting.device)
        return (time.perf_counter() - started) / setting.steps

    return seconds


def _training(kind: str, setting: Setting) -> Training:
    network = channels_last(build(setting.backbone, setting.classes), setting.device)
    batch = setting.batch
    trainers: dict[str, Any] = {
        PLAIN: lambda: SpaTrainer(kind, "spa", SpaParams(weight=0.0, batch_size=batch)),
        "spa": lambda: SpaTrainer(kind, kind, SpaParams(first_epoch=0, batch_size=batch)),
        "i2c": lambda: I2cTrainer(kind, kind, I2cParams(classes=batch // SET_SIZES[kind])),
        "minmax": lambda: MinmaxTrainer(kind, kind, MinmaxParams(classes=batch // SET_SIZES[kind])),
        "psol": lambda: PsolTrainer(kind, PsolParams(batch_size=batch)),
    }
    trained: Any = BoxRegressor(network).to(setting.device) if kind == "psol" else network
    training: Training = trainers[kind]().training(trained, _rows(setting), setting.size, _place(setting.device))
    return training


def _rows(setting: Setting) -> list[dict[str, Any]]:
    """Images of which only their number and classes matter: they are never read."""
    numbers = range(4 * setting.classes * max(SET_SIZES.values()))
    said = {"label_name": "", "split": "train", "uri": "", "weight": 1.0, _BOX[0]: _BOX[1]}
    return [{"image_id": f"{number:05d}", "label": number % setting.classes, **said} for number in numbers]


class _Repeated:
    """The same batch, a few times."""

    def __init__(self, batch: Batch, steps: int) -> None:
        self._batches = [batch] * steps

    def __call__(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        return iter(self._batches[start:])


def _place(device: str) -> Any:
    """A training context without a store: one rank, no checkpoints."""
    nothing: dict[str, Any] = {"read_image": None, "load": lambda: None, "save": lambda state, progress: None}
    return SimpleNamespace(rank=0, world_size=1, micro_batch=None, device=device, save_seconds=float("inf"), **nothing)
