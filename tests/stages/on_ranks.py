"""Every training as several workers compute it: float64, batch normalisation frozen, twenty steps, step by step.

`python -m tests.stages.on_ranks FOLDER` forks into four workers, which talk over the loopback interface: first two of
them train, whole and in micro batches, then the same two go on where a single worker was cut off, then all four.
"""

import multiprocessing
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn

from pipeline.training.checkpoint import dump_checkpoint, load_checkpoint
from pipeline.training.loop import Training, train
from pipeline.worker.device import set_threads
from stages import catalog
from stages.classify.trainer import ClassifyTrainer
from stages.psol.regressor import BoxRegressor
from stages.psol.trainer import PsolTrainer
from stages.vision.backbones.build import build
from stages.vision.backbones.networks import LocalizerNetwork

STEPS, CUT = 20, 7
CLASSES, OF_CLASS, SIDE = 6, 4, 32

PLAIN: dict[str, Any] = {"epochs": 5, "batch_size": 6, "learning_rate": 0.01}
SETS: dict[str, Any] = {"epochs": 10, "classes": 5, "set_size": 2, "learning_rate": 0.01}
"""24 images: four steps an epoch of six images, two steps of five class sets."""

TRAININGS: dict[str, tuple[str, dict[str, Any]]] = {
    "classify": ("classify", {**PLAIN, "min_crop": 0.5, "flip": True, "jitter": 0.2}),
    "psol": ("psol", {**PLAIN, "variant": "joint", "clip_norm": 1.0}),
    "i2c": ("i2c", {**SETS, "stochastic_weight": 0.1, "global_weight": 0.1, "warm_up": 1}),
    "minmax": ("minmax", {**SETS, "common_weight": 3.0, "full_weight": 10.0, "clip_norm": 0.5}),
    "spa": ("spa", {**PLAIN, "first_epoch": 1}),
    "sdcam": ("sdcam", {**PLAIN, "learning_rate": 1.0}),
    **{name: ("plain_cam", {**PLAIN, "technique": name}) for name in ("has", "acol", "spg", "adl")},
    "cutmix": ("plain_cam", {**PLAIN, "epochs": 10, "batch_size": 10, "technique": "cutmix"}),
}


@dataclass
class Ranks:
    """The TrainContext of a rank that saves after each step and notes the sum of losses; checkpoint number CUT is kept.

    state: the checkpoint to go on from.
    """

    rank: int = 0
    world_size: int = 1
    micro_batch: int | None = None
    state: bytes | None = None
    device: str = "cpu"
    save_seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    kept: bytes = b""

    def read_image(self, place: Any, content_hash: str | None = None) -> bytes:
        """An image of noise."""
        pixels = np.random.default_rng(int(place["uri"])).integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8)
        return f"P6 {SIDE} {SIDE} 255\n".encode() + pixels.tobytes()

    def load(self) -> Any:
        return None if self.state is None else load_checkpoint(self.state, "state.pt")

    def save(self, state: Any, progress: Any) -> None:
        if "steps" in progress:
            self.losses.append(state["running"]["total"])
            self.kept = dump_checkpoint(state) if len(self.losses) == CUT else self.kept


def rows() -> list[Any]:
    """Training images, as the trainers know them."""
    box = np.array([4.0, 6.0, 25.0, 28.0], np.float32)
    return [
        {"image_id": str(n), "uri": str(n), "offset": None, "length": None, "row": None, "content_hash": None,
         "turned": None, "lenient": None, "label": n % CLASSES,
         "label_name": "", "split": "train", "pseudo_box": box + n % 4, "weight": 0.5 + n / 23}
        for n in range(CLASSES * OF_CLASS)
    ]  # fmt: skip


def training_of(name: str, context: Any) -> Training:
    """A training in float64, its statistics frozen."""
    kind, params = TRAININGS[name]
    stage = catalog.create(kind, kind, catalog.params_type(kind)(**params))
    network = build("vit_tiny_p8" if name == "sdcam" else "smallnet", CLASSES, seed=3)
    training = _training(stage, network, context)
    training.network.double()
    network.double()
    for module in training.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval().train = lambda mode=True, module=module: module  # type: ignore[method-assign,misc]
    single = training.batches

    def double(epoch: int, start: int) -> Iterator[tuple[torch.Tensor, ...]]:
        for images, targets in single(epoch, start):
            yield images.double(), targets

    training.batches = double
    return training


def _training(stage: Any, network: LocalizerNetwork, context: Any) -> Training:
    if stage.kind == "classify":
        return ClassifyTrainer("classify", stage.params).training(network, rows(), SIDE, context)
    if stage.kind == "psol":
        torch.manual_seed(1)
        regressor = BoxRegressor(network, joint=True)
        return PsolTrainer("psol", stage.params).training(regressor, rows(), SIDE, context)
    trainer = stage.trainer()
    made: Training = trainer.training(trainer.network(network), rows(), SIDE, context)
    return made


def run(name: str, context: Any) -> dict[str, Any]:
    """Train; returns the sum of losses after each step, the log, the weights, and the checkpoint of step CUT."""
    training = training_of(name, context)
    log = train(training, context)
    said = [[epoch.loss, epoch.images, epoch.learning_rate] for epoch in log]
    weights = {key: value.clone() for key, value in training.network.state_dict().items()}
    return {"losses": context.losses, "log": said, "weights": weights, "kept": context.kept}


def micro_batch_of(name: str) -> int:
    """What cuts the larger shares of two workers into two micro batches, and the smaller ones too."""
    return 4 if TRAININGS[name][1].get("classes") or name == "cutmix" else 2


def _worker(rank: int, folder: Path) -> None:
    cut = torch.load(folder / "cut.pt")
    ways: dict[str, tuple[int, Any]] = {
        "two": (2, lambda name: Ranks(rank, 2)),
        "two in micro batches": (2, lambda name: Ranks(rank, 2, micro_batch_of(name))),
        "two after one": (2, lambda name: Ranks(rank, 2, state=cut[name])),
        "four": (4, lambda name: Ranks(rank, 4)),
    }
    found = {}
    for way, (ranks, context) in ways.items():
        if rank < ranks:
            address = f"file://{folder}/{way.replace(' ', '-')}"
            distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=ranks)
            found[way] = {name: run(name, context(name)) for name in TRAININGS}
            distributed.destroy_process_group()
    torch.save(found, folder / f"rank{rank}.pt")


def _fork(folder: Path) -> int:
    """Run the workers; returns how many of them failed. Forked, they share what takes ten seconds to import."""
    set_threads(1)
    torch.optim.SGD([nn.Parameter(torch.zeros(1))])
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_worker, args=(rank, folder), daemon=True) for rank in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(worker.exitcode != 0 for worker in workers)


if __name__ == "__main__":
    sys.exit(_fork(Path(sys.argv[1])))
