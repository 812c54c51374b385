"""A call in a process of its own, which can be waited for with a deadline, and ended; the process ends with the call.

`TorchTrainer.fit` blocks inside of Ray's core. In the driver's main thread it would take over Ctrl-C for good. In
another thread nothing can end it while it waits for machines: `ray.shutdown` takes the core away under it, and Ray then
ends the driver with exit code 1. Nor need a driver load torch, 0.7 GB, to wait for a training or to try a network.
"""

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.contract.resources import StageResources
from pipeline.on_ray.place import place

__all__ = ["RemoteCall", "beside_driver", "with_resources"]


class RemoteCall:
    """A running call that returns nothing, in a process that dies with the driver. options: Ray's, of the task."""

    def __init__(self, call: Callable[[], None], options: dict[str, Any]) -> None:
        """Start it."""
        self._running = ray.remote(max_calls=1)(_call).options(**options).remote(call)

    def ended(self, seconds: float) -> bool:
        """Whether it ends within so many seconds. Raises what the call raised."""
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


def beside_driver(call: Callable[[], None]) -> RemoteCall:
    """Start a call on the driver's node, that takes no place of a worker."""
    node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return RemoteCall(call, {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": node})


def with_resources(call: Callable[[], None], resources: StageResources, retries: int) -> RemoteCall:
    """Start a call that takes one worker's place on any node; it is repeated when it fails or its process is lost."""
    return RemoteCall(call, {**place(resources), "name": "train", "max_retries": retries, "retry_exceptions": True})


def _call(call: Callable[[], None]) -> None:
    call()
