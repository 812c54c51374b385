"""Stages small enough to see through: tables of numbers, counted as they are computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from pipeline.base.params import option, reads
from pipeline.contract.context import Checkpoint
from pipeline.contract.resources import Resources
from pipeline.contract.stage import Stage, TrainStage, one_to_one, whole
from pipeline.running.in_process import InProcessRunner
from pipeline.running.progress import NoProgress
from pipeline.running.run import Run, RunOptions
from pipeline.store.records import Inputs, QuarantineRow, Shard, ShardResult, shard_key
from pipeline.store.store import Store
from pipeline.training.loop import Epoch, Training, train
from schemas import TABLES

SPEC = TABLES["training"]
STEPS = 3
"""Of an epoch of the tiny training."""
IMAGES = 8
"""Of a step of it."""


def numbers(start: int, count: int, factor: float = 1.0) -> Any:
    """A table of `count` rows; `loss` carries the value."""
    return SPEC.from_rows(
        [{"epoch": n + 1, "loss": factor * n, "images": 0, "learning_rate": 0.0} for n in range(start, start + count)]
    )


@dataclass
class Log:
    """What the fakes computed, in order, and what is to go wrong."""

    computed: list[tuple[str, str]] = field(default_factory=list)
    fail_after: int | None = None

    def add(self, stage: str, key: str) -> None:
        if self.fail_after is not None and len(self.computed) >= self.fail_after:
            raise OSError("the disk is gone")
        self.computed.append((stage, key))


LOG = Log()


@dataclass(frozen=True)
class SourceParams:
    rows: int = option(10, "rows", resource=True)
    size: int = option(4, "rows a shard", resource=True)
    bad: int = option(0, "rows of the first shard that are quarantined")
    flavour: str = option("plain", "changes nothing but the recipe")


class Source(Stage[SourceParams]):
    kind = "source"
    version = 1
    Params = SourceParams
    outputs = ("training",)
    per_image = True

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        starts = range(0, self.params.rows, self.params.size)
        return [
            Shard(shard_key(recipe, {}, {"start": start}), args={"start": start}, rows=min(self.params.size, left))
            for start, left in ((start, self.params.rows - start) for start in starts)
        ]

    def worker(self, context: Any) -> Any:
        def work(task: Any) -> ShardResult:
            LOG.add(self.name, task.shard.key)
            start = task.shard.args["start"]
            bad = self.params.bad if start == 0 else 0
            rows: list[QuarantineRow] = [
                {"image_id": f"{n}", "uri": "/", "stage": self.name, "reason": "bad", "content_hash": None}
                for n in range(bad)
            ]
            return ShardResult({"training": numbers(start + bad, task.shard.rows - bad)}, quarantine=rows)

        return work


@dataclass(frozen=True)
class EachParams:
    numbers: str = reads("training", "source", "numbers")
    factor: float = option(2.0, "factor")


class Each(Stage[EachParams]):
    kind = "each"
    version = 1
    Params = EachParams
    outputs = ("training",)
    per_image = True

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        return one_to_one(recipe, inputs["numbers"][0], "numbers", extra={})

    def worker(self, context: Any) -> Any:
        def work(task: Any) -> ShardResult:
            LOG.add(self.name, task.shard.key)
            table = context.table(task.inputs["numbers"][0], "training")
            start = table.column("epoch")[0].as_py() - 1
            return ShardResult({"training": numbers(start, table.num_rows, self.params.factor)})

        return work


@dataclass(frozen=True)
class TotalParams:
    numbers: tuple[str, ...] = reads("training", ("each",), "numbers")
    note: str = option("", "a note")


class Total(Stage[TotalParams]):
    kind = "total"
    version = 1
    Params = TotalParams
    outputs = ("training",)
    light = True

    def ingredients(self) -> Mapping[str, Any]:
        return {"weather": "fine"}

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        return whole(recipe, inputs)

    def worker(self, context: Any) -> Any:
        def work(task: Any) -> ShardResult:
            LOG.add(self.name, task.shard.key)
            rows = sum(context.table(done, "training").num_rows for done in task.inputs["numbers"])
            return ShardResult({"training": numbers(rows, 1)}, {"note.txt": self.params.note.encode()})

        return work


@dataclass(frozen=True)
class FitParams:
    numbers: str = reads("training", "source", "numbers")
    epochs: int = option(3, "epochs")
    rate: float = option(0.1, "learning rate")


class Fit(TrainStage[FitParams]):
    kind = "fit"
    version = 1
    Params = FitParams
    outputs = ("training",)

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        return whole(recipe, inputs)

    def fit(self, task: Any, context: Any) -> ShardResult:
        training = line_training(self.params.epochs, rate=self.params.rate)
        log = train(training, context)
        weight = training.network.state_dict()["weight"].numpy().tobytes()
        return ShardResult({"training": SPEC.from_rows([vars(epoch) for epoch in log])}, {"weight": weight})


def line_training(
    epochs: int, *, rate: float = 0.1, poison: int | None = None, rank: int = 0, ranks: int = 1
) -> Training:
    """A tiny regression with dropout, so that weights depend on torch's random numbers too.

    rank, ranks: whose share of each step it is.
    """
    share = slice(IMAGES * rank // ranks, IMAGES * (rank + 1) // ranks)
    torch.manual_seed(5)
    network = torch.nn.Linear(4, 1)

    def batches(epoch: int, start: int) -> Any:
        LOG.add("epoch", str(epoch))
        for number in range(start, STEPS):
            LOG.add("step", f"{epoch}.{number}")
            inputs = torch.randn(IMAGES, 4, generator=torch.Generator().manual_seed(STEPS * epoch + number))[share]
            yield inputs * (float("nan") if poison == epoch else 1.0), inputs.sum(1, keepdim=True)

    def loss(network: torch.nn.Module, batch: Any) -> torch.Tensor:
        predicted = network(torch.nn.functional.dropout(batch[0], 0.3))
        return ((predicted - batch[1]) ** 2).mean()

    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, total_steps=STEPS * epochs + 1, cycle_momentum=False
    )
    return Training(network, loss, batches, optimizer, schedule, epochs, 1, IMAGES, (share,))


KINDS: dict[str, type[Stage[Any]]] = {stage.kind: stage for stage in (Source, Each, Total, Fit)}


def stages(**changes: dict[str, Any]) -> dict[str, Stage[Any]]:
    """source -> each -> total, with changed parameters by stage name; `kind` chooses another kind."""
    chosen: dict[str, dict[str, Any]] = {"source": {}, "each": {}, "total": {}, **changes}
    made = {}
    for name, entry in chosen.items():
        params = dict(entry)
        stage = KINDS[params.pop("kind", name)]
        made[name] = stage(name, stage.Params(**params))
    return made


def run(store: Store, chosen: Mapping[str, Stage[Any]], **options: Any) -> dict[str, int]:
    """Run in this process."""
    return Run(chosen, store, InProcessRunner, Resources(), NoProgress(), RunOptions(**options)).execute()


def checkpoint_of(network: Mapping[str, torch.Tensor]) -> Checkpoint:
    """The checkpoint of a training that has saved before its first step."""
    return {
        "network": network,
        "optimizer": {},
        "schedule": {},
        "further": [],
        "log": [],
        "running": {"total": 0.0, "further": 0.0, "steps": 0, "images": 0},
        "points": [],
    }


def epochs_of(log: Sequence[Epoch]) -> list[int]:
    """Epoch numbers of a training log."""
    return [epoch.epoch for epoch in log]
