"""A training without Ray: one rank in this process, checkpoints in the store. The loop is `pipeline.training.loop`."""

import time
from collections.abc import Callable, Mapping

from pipeline.base.params import Parameters
from pipeline.base.stop_signal import StopSignal
from pipeline.contract.context import Checkpoint
from pipeline.contract.resources import StageResources
from pipeline.contract.stage import TrainStage
from pipeline.store.encoding import write_progress
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import Done, Task
from pipeline.training.checkpoint import dump_checkpoint, load_checkpoint, read_checkpoint, show_curves
from pipeline.worker.local_context import LocalContext

ONE_WORKER = StageResources(actors=1)
Say = Callable[[str, Mapping[str, float]], None]
"""Called with the stage's name and the progress of its training."""


def fit_in_process(
    stage: TrainStage[Parameters],
    recipe: str,
    task: Task,
    context: LocalContext,
    stop: StopSignal | None = None,
    resources: StageResources = ONE_WORKER,
    told: Say | None = None,
) -> Done:
    """Train one shard here and commit the model. Raises Stopped after the checkpoint that follows a stop signal.

    At each checkpoint, its progress is written to the store, as on Ray, and given to `told`.
    """
    started = time.perf_counter()
    folder, key = RecipeFolder(stage.name, recipe), task.shard.key

    def say(progress: Mapping[str, float]) -> None:
        context.store.write(folder.progress(key), write_progress(progress))
        if told is not None:
            told(stage.name, progress)

    curves = folder.event_files(key)
    train_context = InProcessTrainContext(context, folder.checkpoint(key), stop, curves, resources, say)
    result = stage.fit(task, train_context)
    seconds = time.perf_counter() - started
    return context.store.commit(stage.name, recipe, key, result, seconds=seconds)


class InProcessTrainContext(LocalContext):
    """The TrainContext of a single rank; its checkpoint is one object that each later one replaces.

    path, curves: where the checkpoint is, and the folder of TensorBoard's files (None: none are written). resources:
    only `save_minutes` and `micro_batch` are used. say: called with the progress at each checkpoint.
    """

    rank = 0
    world_size = 1

    def __init__(
        self,
        context: LocalContext,
        path: str,
        stop: StopSignal | None = None,
        curves: str | None = None,
        resources: StageResources = ONE_WORKER,
        say: Callable[[Mapping[str, float]], None] | None = None,
    ) -> None:
        super().__init__(context.store, roots=context.roots, device=context.device, threads=context.threads)
        self._path = path
        self._stop = stop or StopSignal()
        self._curves = curves
        self._save_minutes = resources.save_minutes
        self.micro_batch = resources.micro_batch
        self._say = say

    @property
    def save_seconds(self) -> float:
        """Seconds between two checkpoints; 0 once a stop was requested."""
        return 0.0 if self._stop.requested else 60 * self._save_minutes

    def load(self) -> Checkpoint | None:
        """The newest checkpoint, or None."""
        data = read_checkpoint(self.store, self._path)
        state = None if data is None else load_checkpoint(data, self.store.files.full(self._path))
        show_curves(self, self._curves, state)
        return state

    def save(self, state: Checkpoint, progress: Mapping[str, float]) -> None:
        """Replace the checkpoint. Raises Stopped after a stop request, except at the last one: the commit follows."""
        self.store.files.put(self._path, dump_checkpoint(state))
        show_curves(self, self._curves, state)
        if self._say is not None:
            self._say(progress)
        if progress["epoch"] < progress["epochs"]:
            self._stop.check()
