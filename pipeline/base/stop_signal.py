"""A request to stop, shared by the signal handler and the code that computes."""

import threading

from pipeline.base.errors import Stopped

STOPPED = "stopped; the same command continues"


class StopSignal:
    """Cooperative stop flag, checked between shards and at checkpoints: no new shard starts after `request`."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def request(self) -> None:
        """Request a stop."""
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise Stopped if a stop was requested."""
        if self.requested:
            raise Stopped(STOPPED)
