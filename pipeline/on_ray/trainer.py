"""Ray Train's own driver: it starts, watches and restarts the workers of a training."""

import uuid
from typing import Any

import pyarrow.fs as pafs
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device

from pipeline.contract.resources import StageResources
from pipeline.on_ray.process_group import torch_config
from pipeline.on_ray.train_worker import train_worker
from pipeline.on_ray.training_job import TrainingJob
from pipeline.store.layout import RAY_TRAIN

_JOB = "job"


def fit(job: TrainingJob) -> None:
    """Train on Ray Train's workers; returns when they have ended, raises what Ray Train raises."""
    filesystem, base, local = job.store.files.filesystem
    TorchTrainer(
        _train,
        train_loop_config={_JOB: job},
        torch_config=torch_config(),
        scaling_config=scaling(job.resources),
        run_config=RunConfig(
            name=f"{job.key}-{uuid.uuid4().hex[:8]}",  # unique, so that Ray Train resumes nothing
            storage_path=f"{base}/{job.folder.area(RAY_TRAIN)}",
            storage_filesystem=None if local else pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)),
            failure_config=FailureConfig(max_failures=job.failures),
        ),
    ).fit()


def scaling(resources: StageResources) -> ScalingConfig:
    """What Ray Train is asked for: the number of workers, and CPUs, GPUs (a fraction or several) and so on of each."""
    asked: dict[str, Any] = {"num_workers": resources.actors or 1, "use_gpu": resources.gpus > 0}
    if resources.labels:
        asked["label_selector"] = dict(resources.labels)
    return ScalingConfig(resources_per_worker={"CPU": resources.cpus, **resources.needs()}, **asked)


def _train(config: dict[str, TrainingJob]) -> None:
    worker = ray.train.get_context()
    train_worker(
        config[_JOB], get_device().type, worker.get_world_rank(), worker.get_world_size(), report=ray.train.report
    )
