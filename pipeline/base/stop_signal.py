"""A request to stop, shared by the signal handler and whatever computes."""

import threading

from pipeline.base.errors import Stopped

STOPPED = "stopped; the same command continues"


class StopSignal:
    """Cooperative stop flag: no new shard starts after `request`. Looked at between shards and at checkpoints."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def request(self) -> None:
        """Ask for the end."""
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether the end was asked for."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise Stopped if the end was asked for."""
        if self.requested:
            raise Stopped(STOPPED)
