"""Heads and last blocks as several workers train them, and what is raised on all of them where one fails.

`python -m tests.stages.classify.parts_on_ranks FOLDER` forks into four workers, which talk over the loopback interface.
"""

import multiprocessing
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn

from pipeline.training.checkpoint import dump_checkpoint, load_checkpoint
from pipeline.worker.device import set_threads
from stages.classify.options import ClassifyParams
from stages.classify.trainer import ClassifyTrainer
from stages.vision.backbones.build import build
from stages.vision.backbones.networks import LocalizerNetwork

IMAGES, CLASSES, SIDE, BATCH = 39, 3, 32, 8
CUT = 3
BAD = "11"
WORLDS = (2, 4)


@dataclass
class Place:
    """The TrainContext of a rank. save_seconds: 0 saves after each step. state: the checkpoint to go on from."""

    rank: int = 0
    world_size: int = 1
    micro_batch: int | None = BATCH
    save_seconds: float = 1e9
    state: bytes | None = None
    bad: str = ""
    device: str = "cpu"
    reads: list[str] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)

    def read_image(self, place: Any, content_hash: str | None = None) -> bytes:
        """An image of noise whose brightness says its class."""
        self.reads.append(place["uri"])
        if place["uri"] == self.bad:
            return b""
        number = int(place["uri"])
        bright = 60 * (number % CLASSES)
        pixels = np.random.default_rng(number).integers(bright, bright + 130, size=(SIDE, SIDE, 3), dtype=np.uint8)
        return f"P6 {SIDE} {SIDE} 255\n".encode() + pixels.tobytes()

    def load(self) -> Any:
        return None if self.state is None else load_checkpoint(self.state, "state.pt")

    def save(self, state: Any, progress: Any) -> None:
        assert progress["epoch"] <= progress["epochs"]
        self.kept.append(dump_checkpoint(state))


def rows() -> list[Any]:
    """Training images, as the trainers know them."""
    fixed = {"offset": None, "length": None, "row": None, "content_hash": None, "turned": None, "lenient": None}
    return [
        {**fixed, "image_id": str(n), "uri": str(n), "label": n % CLASSES, "label_name": f"c{n % CLASSES}"}
        for n in range(IMAGES)
    ]


def untrained() -> LocalizerNetwork:
    """A network with statistics of other images, which a training would move."""
    torch.manual_seed(5)
    network = build("smallnet", CLASSES, seed=3)
    for name, values in network.named_buffers():
        if name.endswith("running_mean"):
            values.normal_(0, 0.1)
    return network


def trained(place: Place, **params: Any) -> tuple[dict[str, torch.Tensor], Any, Any]:
    """The state of a network after a training, the log and what the card says."""
    network = untrained()
    chosen = ClassifyParams(batch_size=16, learning_rate=0.05, **params)
    log, about = ClassifyTrainer("classify", chosen)._trained(network, rows(), SIDE, place)  # type: ignore[arg-type]
    return {name: value.clone() for name, value in network.state_dict().items()}, log, about


def head(place: Place) -> tuple[dict[str, torch.Tensor], Any, Any]:
    return trained(place, train="head")


def last_block(place: Place) -> tuple[dict[str, torch.Tensor], Any, Any]:
    return trained(place, train="last_block", epochs=2)


def failure(place: Place) -> str:
    """The type of what a rank raises, and its words."""
    try:
        head(place)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def _worker(rank: int, folder: Path) -> None:
    cut = torch.load(folder / "cut.pt")
    found: dict[str, Any] = {}
    for ranks in WORLDS:
        if rank >= ranks:
            continue
        address = f"file://{folder}/store-{ranks}"
        distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=ranks)
        found[f"head on {ranks}"] = head(Place(rank, ranks))
        found[f"head on {ranks} after one"] = head(Place(rank, ranks, state=cut))
        found[f"failure on {ranks}"] = failure(Place(rank, ranks, bad=BAD))
        found[f"last block on {ranks}"] = last_block(Place(rank, ranks, micro_batch=None))
        distributed.destroy_process_group()
    torch.save(found, folder / f"rank{rank}.pt")


def _fork(folder: Path) -> int:
    """Run the workers; returns how many of them failed. Forked, they share what takes seconds to import."""
    set_threads(1)
    torch.optim.SGD([nn.Parameter(torch.zeros(1))])
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_worker, args=(rank, folder), daemon=True) for rank in range(max(WORLDS))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(worker.exitcode != 0 for worker in workers)


if __name__ == "__main__":
    sys.exit(_fork(Path(sys.argv[1])))
