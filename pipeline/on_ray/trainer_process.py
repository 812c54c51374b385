"""Ray Train in a process of its own, which can be waited for with a deadline, and ended.

`TorchTrainer.fit` blocks inside of Ray's core. In the driver's main thread it would take over Ctrl-C for good. In
another thread nothing can end it while it waits for machines: `ray.shutdown` takes the core away under it, and Ray then
ends the driver with exit code 1. Nor need a driver load torch and Ray Train, 0.7 GB, to wait for others.
"""

import ray
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.on_ray.training_job import TrainingJob

__all__ = ["TrainerProcess"]


class TrainerProcess:
    """A running `TorchTrainer.fit`, on the driver's node, with which it dies."""

    def __init__(self, job: TrainingJob) -> None:
        """Start it."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        task = ray.remote(_fit).options(num_cpus=0, max_retries=0, scheduling_strategy=here)
        self._running = task.remote(job)

    def ended(self, seconds: float) -> bool:
        """Whether it ends within so many seconds. Raises what the training raised."""
        done, _ = ray.wait([self._running], timeout=seconds)
        if done:
            try:
                ray.get(self._running)
            except RayTaskError as error:
                raise error.cause from None
        return bool(done)

    def end(self) -> None:
        """End it and, because it owns them, what it has started."""
        ray.cancel(self._running, force=True)


def _fit(job: TrainingJob) -> None:
    from pipeline.on_ray.trainer import fit

    fit(job)
