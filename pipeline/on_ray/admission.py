"""Which trainings may start: no more than the cluster's resources hold, in the order of arrival.

Ray would place them too, but each training that waits for a place keeps half a dozen processes of Ray Train waiting.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import ray

from pipeline.base.stop_signal import StopSignal
from pipeline.contract.resources import StageResources

_LOOK_SECONDS = 2.0


class Admission:
    """A ledger of the resources that running trainings take. Safe to use from several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: list[object] = []
        self._running: list[Mapping[str, float]] = []

    @contextmanager
    def admitted(self, resources: StageResources, stop: StopSignal) -> Iterator[None]:
        """Wait until this training's workers fit beside those that run, or none runs. Raises Stopped on a stop."""
        needs = {name: need * (resources.actors or 1) for name, need in resources.needs().items()}
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while self._queue[0] is not ticket or not self._fits(needs):
                    self._changed.wait(_LOOK_SECONDS)  # the cluster may have grown
                    stop.check()
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
            self._running.append(needs)
        try:
            yield
        finally:
            with self._changed:
                self._running.remove(needs)
                self._changed.notify_all()

    def _fits(self, needs: Mapping[str, float]) -> bool:
        if not self._running:
            return True
        held = ray.cluster_resources()
        taken = {name: sum(running.get(name, 0.0) for running in self._running) for name in needs}
        return all(taken[name] + need <= held.get(name, 0.0) for name, need in needs.items())
