"""What the tests of i2c, spa and minmax share: a training on six made images, in this process, that may be cut off."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.store.records import Shard, ShardResult, Task
from pipeline.store.store import Store
from pipeline.training.checkpoint import dump_checkpoint, load_checkpoint
from pipeline.training.in_process import InProcessTrainContext
from pipeline.training.loop import Training, train
from pipeline.worker.device import set_threads
from pipeline.worker.local_context import LocalContext
from stages import catalog
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.model_card import CARD, WEIGHTS, read_card
from stages.vision.models import plain_network
from tests import runs
from tests.stages import rooms

ROOT = Path(__file__).resolve().parents[2]


class Cut(InProcessTrainContext):
    """A TrainContext that keeps its checkpoint as bytes, and may be cut off after some epochs."""

    def __init__(self, store: Store, cut_after: int | None = None) -> None:
        super().__init__(LocalContext(store), "state.pt")
        self.data: bytes | None = None
        self.saved = 0
        self.cut_after = cut_after

    def load(self) -> Any:
        return None if self.data is None else load_checkpoint(self.data, "state.pt")

    def save(self, state: Any, progress: Any) -> None:
        self.data = dump_checkpoint(state)
        self.saved += 1
        if self.saved == self.cut_after:
            raise KeyboardInterrupt


class Made:
    """Six made images of two classes, four of split train, and a classifier of them."""

    def __init__(self, folder: Path) -> None:
        set_threads(1)
        self.store = Store(str(folder / "run"))
        self.table = rooms.images_table(rooms.write_images(folder / "data"))
        self.images = self.store.commit("images", "made", "k", ShardResult({"images": self.table}))
        self.model = self.store.commit("model", "made", "k", ShardResult({}, rooms.classifier()))

    def context(self, cut_after: int | None = None) -> Cut:
        return Cut(self.store, cut_after)

    def fit(self, kind: str, context: Cut | None = None, model: Any = None, **params: Any) -> ShardResult:
        """What the stage makes of the images."""
        task = Task(Shard("k"), {"images": (self.images,), "model": (model or self.model,)})
        return stage_of(kind, **params).fit(task, context or self.context())

    def rows(self) -> list[dict[str, Any]]:
        """The images of split train."""
        return [row for row in self.table.to_pylist() if row["split"] == "train"]

    def training(self, kind: str, network: LocalizerNetwork, **params: Any) -> Training:
        """The stage's training of a network."""
        training: Training = stage_of(kind, **params).trainer().training(network, self.rows(), 64, self.context())
        return training


def stage_of(kind: str, **params: Any) -> Any:
    return catalog.create(kind, kind, catalog.params_type(kind)(**params))


def network(dropout: float = 0.0) -> LocalizerNetwork:
    """The made classifier; with dropout, what it learns depends on torch's random numbers too."""
    blobs = rooms.classifier()
    made = plain_network(read_card(blobs[CARD]), blobs[WEIGHTS])
    if dropout:
        made.features.add_module("dropout", nn.Dropout(dropout))
    return made


def plain(training: Training, of: LocalizerNetwork) -> Training:
    """The same batches, optimizer and schedule with cross-entropy alone on the network itself."""

    def entropy(network: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(network(batch[0]), batch[1])

    names = ("batches", "optimizer", "schedule", "epochs", "seed", "images", "micro_batches")
    return Training(of, entropy, **{name: getattr(training, name) for name in names})


def same_as_plain(made: Made, kind: str, **params: Any) -> bool:
    """Whether a training reaches the very weights and statistics of a plain one, dropout in between."""
    one, other = network(0.3), network(0.3)
    start = state(one)
    train(made.training(kind, one, **params), made.context())
    train(plain(made.training(kind, other, **params), other), made.context())
    assert state(one) != start
    return state(one) == state(other)


def state(network: nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}


def resumed(made: Made, kind: str, cut_after: int, **params: Any) -> tuple[ShardResult, ShardResult, Cut]:
    """The results of a whole training, and of one that was cut off and went on in a new object, with its context."""
    whole = made.fit(kind, **params)
    context = made.context(cut_after)
    try:
        made.fit(kind, context, **params)
    except KeyboardInterrupt:
        context.cut_after = None
    torch.manual_seed(999)
    return whole, made.fit(kind, context, **params), context


def card(result: ShardResult) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(result.blobs[CARD])
    return said


def chained(run_copy: dict[str, Any], kind: str, **params: Any) -> Any:
    """Run a localizer, its maps, their sweep and evaluation behind a finished run's classifier."""
    names = ("classify", "classes")
    run_copy["stages"] = {
        **{name: runs.STAGES[name] for name in names},
        kind: params,
        "maps": {"stage": "cam", "model": kind},
        "own_classes": {"stage": "localize", "model": kind},
        "sweep": {"maps": "maps"},
        "calibrate": {"counts": "sweep"},
        "boxes": {"maps": "maps", "thresholds": "calibrate"},
        "evaluate": {"classes": "own_classes", "labels": ["boxes"], "counts": ["sweep"], "splits": ["test"]},
    }
    target = runs.target_of(run_copy)
    runs.execute(target)
    return target


WORKER = """
import json, sys
from pathlib import Path
from torch import distributed
from tests.stages import localizers

rank, folder, kind, params = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
distributed.init_process_group("gloo", init_method=f"file://{folder}/ranks", rank=rank, world_size=2)
localizers.train_rank(folder, rank, kind, params)
distributed.destroy_process_group()
"""


def train_rank(folder: Path, rank: int, kind: str, params: dict[str, Any]) -> None:
    """Train one rank's share and keep what it trained."""
    made = Made(folder / str(rank))
    context = made.context()
    context.rank, context.world_size = rank, 2
    training = stage_of(kind, **params).trainer().training(network(), made.rows(), 64, context)
    train(training, context)
    torch.save(training.network.state_dict(), folder / f"rank{rank}.pt")


def on_two_ranks(folder: Path, kind: str, **params: Any) -> list[dict[str, torch.Tensor]]:
    """What two processes trained, which talk over the loopback interface."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", WORKER]
    workers = [
        subprocess.Popen(
            [*command, str(rank), str(folder), kind, json.dumps(params)],
            env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        said = [worker.communicate(timeout=250)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], said
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]
