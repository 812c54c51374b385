"""Training without Ray: one rank in this process, checkpoints in the store. The epoch loop itself is `pipeline.epochs`."""

import io
import time
from collections.abc import Mapping
from typing import Any

from pipeline.context import LocalContext
from pipeline.stage import Done, Task, TrainStage


def fit_in_process(stage: TrainStage, recipe: str, task: Task, context: LocalContext) -> Done:
    """Train one shard here and commit the model."""
    started = time.perf_counter()
    train_context = InProcessTrainContext(context, f"{stage.name}/{recipe}/train/{task.shard.key}/state.pt")
    result = stage.fit(task, train_context)
    seconds = time.perf_counter() - started
    return context.store.commit(stage.name, recipe, task.shard.key, result, seconds=seconds)


class InProcessTrainContext(LocalContext):
    """The TrainContext of a single rank; its checkpoint is one object that each epoch replaces."""

    rank = 0
    world_size = 1

    def __init__(self, context: LocalContext, path: str) -> None:
        super().__init__(context.store, device=context.device, threads=context.threads)
        self._path = path

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint, or None."""
        try:
            return load_state(self.store.files.get(self._path))
        except FileNotFoundError:
            return None

    def save(self, state: dict[str, Any], progress: Mapping[str, float]) -> None:
        """Replace the checkpoint."""
        self.store.files.put(self._path, dump_state(state))


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


