"""Training without Ray: one rank in this process, checkpoints in the store. The epoch loop is `pipeline.epochs`."""

import io
import time
from collections.abc import Mapping
from typing import Any

from pipeline.context import LocalContext
from pipeline.resources import SAVE_MINUTES
from pipeline.stage import Done, Task, TrainStage
from pipeline.stopping import StopSignal
from pipeline.store import Store


def fit_in_process(
    stage: TrainStage,
    recipe: str,
    task: Task,
    context: LocalContext,
    stop: StopSignal | None = None,
    save_minutes: float = SAVE_MINUTES,
) -> Done:
    """Train one shard here and commit the model. Raises Stopped after the checkpoint that follows a stop signal."""
    started = time.perf_counter()
    names = (stage.name, recipe, task.shard.key)
    train_context = InProcessTrainContext(context, state_path(*names), stop, curves_path(*names), save_minutes)
    result = stage.fit(task, train_context)
    seconds = time.perf_counter() - started
    return context.store.commit(stage.name, recipe, task.shard.key, result, seconds=seconds)


class InProcessTrainContext(LocalContext):
    """The TrainContext of a single rank; its checkpoint is one object that each later one replaces.

    path, curves: where the checkpoint is, and the folder of TensorBoard's files (None: none are written).
    """

    rank = 0
    world_size = 1

    def __init__(
        self,
        context: LocalContext,
        path: str,
        stop: StopSignal | None = None,
        curves: str | None = None,
        save_minutes: float = SAVE_MINUTES,
    ) -> None:
        super().__init__(context.store, device=context.device, threads=context.threads)
        self._path = path
        self._stop = stop or StopSignal()
        self._curves = curves
        self._save_minutes = save_minutes

    @property
    def save_seconds(self) -> float:
        """Seconds between two checkpoints; none are waited for once the end was asked for."""
        return 0.0 if self._stop.requested else 60 * self._save_minutes

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint, or None."""
        data = read_state(self.store, self._path)
        state = None if data is None else load_state(data)
        show_curves(self, self._curves, state)
        return state

    def save(self, state: dict[str, Any], progress: Mapping[str, float]) -> None:
        """Replace the checkpoint; the last one is followed by the commit, not by the end."""
        self.store.files.put(self._path, dump_state(state))
        show_curves(self, self._curves, state)
        if progress["epoch"] < progress["epochs"]:
            self._stop.check()


def state_path(stage: str, recipe: str, key: str) -> str:
    """Where the newest checkpoint of a training is, whichever runner made it."""
    return f"{stage}/{recipe}/train/{key}/state.pt"


def curves_path(stage: str, recipe: str, key: str) -> str:
    """The folder of a training's event files, for TensorBoard."""
    return f"{stage}/{recipe}/tensorboard/{key}"


def progress_path(stage: str, recipe: str, key: str) -> str:
    """Where a training says how far it is: a small JSON object that each checkpoint replaces."""
    return f"{stage}/{recipe}/progress/{key}.json"


def read_state(store: Store, path: str) -> bytes | None:
    """The bytes of a checkpoint, or None before the first. A storage error is raised: it must not mean a new start."""
    try:
        return store.files.get(path)
    except FileNotFoundError:
        return None


def show_curves(context: LocalContext, folder: str | None, state: Mapping[str, Any] | None) -> None:
    """Publish the curves of the newest checkpoint, which a kill may have kept back; before the first, remove older."""
    from pipeline.curves import publish  # brings torch along

    if folder is not None and state is not None:
        publish(context.store, folder, state, context.scratch)
    elif folder is not None:
        context.store.files.remove_folder(folder)


def dump_state(state: dict[str, Any]) -> bytes:
    """A checkpoint as bytes: tensors and plain values only, so that it loads without unpickling code."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def load_state(data: bytes) -> dict[str, Any]:
    """A checkpoint from bytes; refuses anything but tensors and plain values."""
    import torch

    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state
