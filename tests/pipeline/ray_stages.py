"""Stages for tests of the Ray runner and trainer; worker processes import this module. Faults are switched by files."""

import errno
import hashlib
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.base.errors import UsageError
from pipeline.base.params import option, reads
from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.contract.stage import Stage, TrainStage, one_to_one
from pipeline.store.records import Inputs, Shard, ShardResult, Task, shard_key
from pipeline.training.loop import train
from schemas import TABLES
from stages.minmax.options import MinmaxParams
from stages.minmax.stage import Minmax
from stages.minmax.trainer import MinmaxTrainer
from tests.pipeline import fakes
from tests.stages import localizers


@dataclass(frozen=True)
class FaultyParams:
    notes: str = option("", "folder in which workers note what they do")
    shards: int = option(6, "shards of two rows")
    fault: str = option("", "what goes wrong")
    shard: int = option(2, "the shard where it goes wrong")


class Faulty(Stage[FaultyParams]):
    """Two rows a shard; one shard, or the set-up, may go wrong."""

    kind = "faulty"
    version = 1
    Params = FaultyParams
    outputs = ("training",)
    per_image = True

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        return [
            Shard(shard_key(recipe, {}, {"number": number}), args={"number": number}, rows=2)
            for number in range(self.params.shards)
        ]

    def worker(self, context: Any) -> "_FaultyWorker":
        if self.params.fault == "set-up":
            raise RuntimeError("no such model")
        return _FaultyWorker(self.params)


class _FaultyWorker:
    def __init__(self, params: FaultyParams) -> None:
        self._params = params

    def __call__(self, task: Any) -> ShardResult:
        number = task.shard.args["number"]
        tries = note(self._params.notes, f"{number}")
        if number == self._params.shard:
            self._go_wrong(tries)
        return ShardResult({"training": fakes.numbers(2 * number, 2)})

    def _go_wrong(self, tries: int) -> None:
        fault = self._params.fault
        if fault == "kill" or (fault == "kill once" and tries == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "raise" or (fault == "raise once" and tries == 1):
            raise RuntimeError("the moon is full")
        if fault == "usage":
            raise UsageError("there is no dev split")
        if fault == "unpicklable":
            raise Unpicklable(1, "cannot travel")
        if fault == "hang once" and tries == 1:
            time.sleep(600)
        if fault == "disk full":
            raise OSError(errno.ENOSPC, "No space left on device")


class Unpicklable(Exception):
    """Cannot be rebuilt from its arguments, like exceptions of some libraries."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)


@dataclass(frozen=True)
class EaterParams:
    notes: str = option("", "folder in which workers note what they do", resource=True)
    images: str = reads("images", "ingest", "the images")
    poison: tuple[str, ...] = option((), "images whose process dies", resource=True)
    most: int = option(1000, "images of one batch that memory holds", resource=True)
    raises: bool = option(False, "too large a batch raises an error instead of ending the process", resource=True)
    batch_size: int = option(16, "images in one batch", resource=True)


class Eater(Stage[EaterParams]):
    """Copies image ids in batches; some images, and batches above a size, end the process as the OOM killer does."""

    kind = "eater"
    version = 1
    Params = EaterParams
    outputs = ("predictions",)
    per_image = True
    divisible = True

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        return one_to_one(recipe, inputs["images"][0], "images", extra={})

    def worker(self, context: Any) -> Any:
        return _Eating(self.params, context)


class _Eating:
    def __init__(self, params: EaterParams, context: Any) -> None:
        self._params, self._context = params, context

    def __call__(self, task: Any) -> ShardResult:
        rows = self._context.table(task.inputs["images"][0], "images", ("image_id", "label", "split")).to_pylist()
        size = self._params.batch_size
        note(self._params.notes, f"batch{size}")
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            if self._params.raises and len(batch) > self._params.most:
                raise OutOfMemoryError
            if len(batch) > self._params.most or any(row["image_id"] in self._params.poison for row in batch):
                os.kill(os.getpid(), signal.SIGKILL)
        fixed = {"method": "eater", "source": "eater", "image_height": 1, "image_width": 1}
        return ShardResult({"predictions": TABLES["predictions"].from_rows([{**row, **fixed} for row in rows])})


class OutOfMemoryError(RuntimeError):
    """As torch raises it."""


@dataclass(frozen=True)
class FragileParams:
    notes: str = option("", "folder in which workers note what they do", resource=True)
    epochs: int = option(4, "epochs")
    kill_at: int | None = option(None, "epoch whose first try is killed", resource=True)
    poison: int | None = option(None, "epoch whose loss is not finite")
    meets: str = option("", "another stage: no step before that one's process is at work too", resource=True)


class Fragile(TrainStage[FragileParams]):
    """A tiny training; its process may die in the middle of an epoch, and may wait for that of another."""

    kind = "fragile"
    version = 1
    Params = FragileParams
    outputs = ("training",)

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        return [Shard(shard_key(recipe, {}))]

    def fit(self, task: Any, context: Any) -> ShardResult:
        place = {"rank": context.rank, "ranks": context.world_size}
        training = fakes.line_training(self.params.epochs, poison=self.params.poison, **place)
        batches = training.batches

        def fragile(epoch: int, start: int) -> Any:
            tries = note(self.params.notes, f"epoch{epoch}-rank{context.rank}")
            for number, batch in enumerate(batches(epoch, start), start):
                if number == 1 and epoch == self.params.kill_at and tries == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield batch

        training.batches = fragile
        if self.params.meets:
            meet(str(Path(self.params.notes).parent), self.name, self.params.meets)
        log = train(training, context)
        weight = training.network.state_dict()["weight"].numpy().tobytes()
        return ShardResult({"training": fakes.SPEC.from_rows([vars(epoch) for epoch in log])}, {"weight": weight})


MINMAX: dict[str, Any] = {"epochs": 3, "classes": 2, "set_size": 2, "learning_rate": 0.01}
"""Three steps an epoch on the images of `minmax_job`, of two class sets each: two workers can share them."""


class MortalMinmax(Minmax):
    """A real localizer; each batch is noted with a digest of its pixels, and one of them ends or stops the process.

    fault: kill or hang; at: epoch, batch and rank whose first try it befalls. Or slow: five seconds a batch.
    """

    def __init__(self, notes: str, fault: str = "", at: tuple[int, int, int] = (1, 1, 0)) -> None:
        super().__init__("minmax", MinmaxParams(**MINMAX))
        self.notes, self.fault, self.at = notes, fault, at

    def trainer(self) -> "_MortalTrainer":
        return _MortalTrainer(self)


class _MortalTrainer(MinmaxTrainer):
    def __init__(self, stage: MortalMinmax) -> None:
        super().__init__(stage.name, stage.kind, stage.params)
        self.notes, self.fault, self.at = stage.notes, stage.fault, stage.at

    def training(self, network: Any, rows: Any, size: int, context: Any) -> Any:
        training = super().training(network, rows, size, context)
        batches = training.batches

        def watched(epoch: int, start: int) -> Any:
            for number, batch in enumerate(batches(epoch, start), start):
                name = f"{epoch}.{number}.{context.rank}.{digest(batch)}"
                if note(self.notes, name) == 1 and (epoch, number, context.rank) == self.at:
                    self._go_wrong()
                if self.fault == "slow":
                    time.sleep(5)
                yield batch

        training.batches = watched
        return training

    def _go_wrong(self) -> None:
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "hang":
            note(self.notes, "hangs")
            time.sleep(600)


def minmax_stage(job: Job) -> MortalMinmax:
    """The stage of such a job."""
    assert isinstance(job.stage, MortalMinmax)
    return job.stage


def minmax_job(
    folder: Path, notes: Path, fault: str = "", at: tuple[int, int, int] = (1, 1, 0), workers: int = 1, **changes: Any
) -> Job:
    """The training of MortalMinmax on twelve made images, saved after each step; changes: of its resources."""
    folder.mkdir(exist_ok=True)
    made = localizers.Made(folder)
    ids = pa.chunked_array([pa.array([f"{n}-{copy}" for n in range(6)]) for copy in range(3)])
    table = pa.concat_tables([made.table] * 3).drop_columns(["image_id"]).add_column(0, "image_id", ids)
    images = made.store.commit("images", "many", "k", ShardResult({"images": table.select(made.table.column_names)}))
    notes.mkdir(exist_ok=True)
    task = Task(Shard("k"), {"images": (images,), "model": (made.model,)})
    resources = replace(StageResources(actors=workers, save_minutes=0), **changes)
    return Job(MortalMinmax(str(notes), fault, at), "r", [task], made.store, resources)


def digest(batch: Any) -> str:
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in batch)).hexdigest()[:12]


def meet(folder: str, name: str, other: str) -> None:
    """Note that `name` is here and wait until `other` is."""
    note(folder, f"here-{name}")
    deadline = time.monotonic() + 300
    while not pids(folder, f"here-{other}"):
        assert time.monotonic() < deadline, f"{name} met nobody"
        time.sleep(0.1)


def note(folder: str, name: str) -> int:
    """Note that this process does `name`; returns how often that was noted."""
    with open(Path(folder) / name, "a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    return len(pids(folder, name))


def pids(folder: str | Path, name: str) -> list[int]:
    """The processes that noted `name`, in order."""
    path = Path(folder) / name
    return [int(line) for line in path.read_text().split()] if path.exists() else []
