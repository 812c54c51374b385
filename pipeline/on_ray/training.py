"""Training on Ray: any number of workers, the same checkpoints in the store as without Ray.

A single worker is a task of Ray. Several are started, watched and restarted by Ray Train. It is given no checkpoints:
its own resuming rewrites a snapshot in place, deletes checkpoints that a second run on the same root may be about to
load, and refuses another Ray version; a kill at the wrong moment would end a training for good. Rank 0 commits the
model to the store itself, so a driver that dies afterwards loses nothing.
"""

from functools import partial

import structlog

from pipeline.base.errors import StageFailed, UsageError, WeakboxError
from pipeline.base.params import Parameters
from pipeline.base.stop_signal import StopSignal
from pipeline.contract.runner import Job
from pipeline.contract.stage import TrainStage
from pipeline.on_ray.remote_call import RemoteCall, beside_driver, with_resources
from pipeline.on_ray.training_job import TrainingJob
from pipeline.store.encoding import read_progress
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import Done, Task
from pipeline.store.store import Store

_LOG = structlog.get_logger("weakbox.train")
_PROGRESS_SECONDS = 2.0


def fit_on_ray(stage: TrainStage[Parameters], job: Job, task: Task) -> Done:
    """Train one shard of a job, whose stage is `stage`, on Ray's workers and return its manifest.

    Raises:
        StageFailed: the training failed for good; the line holds the cause.
        Stopped: the workers saw the stop signal, saved and ended, all within seconds; or none had begun.
    """
    store, key = job.store, task.shard.key
    training = TrainingJob(stage, job.recipe, task, store, job.resources, job.roots)
    folder = training.folder
    for path in (folder.refused(key), folder.begun(key), folder.stop(key)):
        store.files.remove(path)
    _follow(_start(training), folder, key, store, job.stop)
    done = store.done(stage.name, job.recipe, [key])
    if key not in done:
        job.stop.check()
        raise _refusal(store, folder.refused(key), stage.name)
    return done[key]


def _start(job: TrainingJob) -> RemoteCall:
    """Start the only worker of a training; or Ray Train, which takes three processes more to start several."""
    if (job.resources.actors or 1) == 1:
        return with_resources(partial(_train_alone, job), job.resources, job.failures)
    return beside_driver(partial(_fit, job))


def _train_alone(job: TrainingJob) -> None:
    from pipeline.on_ray.train_worker import train_alone

    train_alone(job)


def _fit(job: TrainingJob) -> None:
    from pipeline.on_ray.trainer import fit

    fit(job)


def _follow(trainer: RemoteCall, folder: RecipeFolder, key: str, store: Store, stop: StopSignal) -> None:
    """Wait for a training, log each checkpoint that its workers report, and hand on the stop signal."""
    stage, path = folder.stage, folder.progress(key)
    ended, told, said = False, False, store.read(path, read_progress)
    while not ended:
        try:
            ended = trainer.ended(_PROGRESS_SECONDS)
        except Exception as error:
            raise _cause(error, stage) from error
        now = store.read(path, read_progress)
        if now is not None and now != said:
            said = now
            _LOG.info("training", stage=stage, **now)
        if stop.requested and not told and not ended:
            if not store.files.exists(folder.begun(key)):
                trainer.end()  # it waits for machines, or its workers are starting: nothing needs saving
                stop.check()
            store.files.put(folder.stop(key), b"")
            told = True


def _refusal(store: Store, path: str, stage: str) -> WeakboxError:
    """The error that a worker wrote down when it gave up."""
    said = store.read(path, dict)
    if said is None:
        return StageFailed(f"{stage}: the training ended without a model")
    kind = UsageError if said.get("exit_code") == UsageError.exit_code else StageFailed
    return kind(str(said.get("error")))


def _cause(error: Exception, stage: str) -> WeakboxError:
    failures = list(getattr(error, "worker_failures", {}).values())
    cause: BaseException = failures[0] if failures else error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    cause = getattr(cause, "cause", cause)
    if isinstance(cause, WeakboxError):
        return cause
    lines = str(cause).strip().splitlines() or [""]
    return StageFailed(f"{stage}: training failed: {type(cause).__name__}: {lines[-1]}")
