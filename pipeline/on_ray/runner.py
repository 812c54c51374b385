"""The Ray runner: stages on a pool of actors, trainings on workers of their own."""

import contextlib
import threading
from collections.abc import Callable

from ray.exceptions import RayError

from pipeline.base.stop_signal import StopSignal
from pipeline.contract.runner import Job, OnDone
from pipeline.contract.stage import TrainStage
from pipeline.on_ray.admission import Admission
from pipeline.on_ray.dispatcher import Dispatcher
from pipeline.on_ray.pool import Pool
from pipeline.on_ray.remote_call import beside_driver
from pipeline.on_ray.training import fit_on_ray

PLACEMENT_SECONDS = 60.0
STALL_SECONDS = 60.0
_STOP_SECONDS = 0.5


class RayRunner:
    """Runs shards on a pool of actors; the pool is kept for the next stage that takes the same resources.

    placement: seconds to wait for a node on which an actor fits, where the cluster has none yet. stall: a shard is
    given to a second actor when it takes ten times as long as the others, and at least so many seconds. Trainings may
    run in several threads at once: Ray gives each of them all of its workers or none, so that they never deadlock.
    Where no node can join, only as many start as fit; elsewhere the waiting ones make an autoscaler add nodes.
    """

    side_by_side = True

    def __init__(self, placement: float = PLACEMENT_SECONDS, stall: float = STALL_SECONDS) -> None:
        self._pool = Pool(placement)
        self._stall = stall
        self._lock = threading.Lock()
        self._admission = Admission()
        self._grows = placement > 0

    def run(self, job: Job, on_done: OnDone) -> None:
        """Compute every task. Raises StageFailed when a shard gives up, Stopped after a stop signal."""
        if isinstance(job.stage, TrainStage):
            with self._lock:
                self.close()
            self._pool.await_place(job)
            with contextlib.nullcontext() if self._grows else self._admission.admitted(job.resources, job.stop):
                for task in job.tasks:
                    on_done(fit_on_ray(job.stage, job, task))
            return
        Dispatcher(job, self._pool, on_done, self._stall).run()

    def call_apart(self, check: Callable[[], None], stop: StopSignal) -> None:
        """Call a check in a process beside this one; here, if that process is lost."""
        apart = beside_driver(check)
        try:
            while not apart.ended(_STOP_SECONDS):
                if stop.requested:
                    apart.end()
                    stop.check()
        except RayError:
            check()

    def close(self) -> None:
        """End the pool's actors."""
        self._pool.close()
