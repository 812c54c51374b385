"""Starting or joining Ray for one command."""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator

import ray
import structlog

from pipeline.contract.runner import Job, OnDone
from pipeline.on_ray.runner import RayRunner

_LOG = structlog.get_logger("weakbox.ray")

_LOCAL = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
}
"""Settings of a Ray that lives as long as one command on one machine. Its workers are the command: they run as it does,
not at Ray's own niceness of 15, which starves them beside anything else that computes. Threads that wait for each other
sleep: spinning made a training with two threads four times slower as soon as another process wanted the processors.
glibc keeps freed memory: giving each feature map back to the kernel and faulting its pages in again was more than half
of MobileNetV2's forward pass (12 instead of 26 to 30 ms an image)."""


class RaySession:
    """A RayRunner with its cluster: joins `address`, or starts a local Ray that ends with the command.

    A local Ray never joins a cluster that happens to run on the machine, and needs no login: it ends with us.
    placement: seconds to wait for a node that a stage's actors fit on; a local Ray gets no other node.
    """

    side_by_side = True

    def __init__(self, address: str | None, num_cpus: int | None, placement: float = 0.0) -> None:
        self._started = not ray.is_initialized()
        if self._started and address is None:
            for name, value in _LOCAL.items():
                os.environ.setdefault(name, value)
        if self._started:
            with _own_sigterm():
                ray.init(
                    address=address or "local",
                    num_cpus=num_cpus if address is None else None,
                    include_dashboard=False if address is None else None,
                    logging_level=logging.WARNING,
                    log_to_driver=False,
                )
            _LOG.info("ray is up", cpus=ray.cluster_resources().get("CPU"), address=address or "local")
        self._runner = RayRunner(placement if address else 0.0)

    def run(self, job: Job, on_done: OnDone) -> None:
        """Run one stage."""
        self._runner.run(job, on_done)

    def close(self) -> None:
        """End the pool, and Ray itself if it was started here."""
        self._runner.close()
        if self._started:
            ray.shutdown()


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep our SIGTERM handler: ray.init() puts its own there, which ends the command with another exit code."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as stopped:
        raise KeyboardInterrupt from stopped
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
