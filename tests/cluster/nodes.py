"""A Ray cluster of several nodes on this machine, whose nodes come and go."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_STORE = 100 * 1024 * 1024
_PATIENCE = 240.0
"""Seconds until a node is there: Ray's own thirty are too few on a machine whose two cores are busy."""


class Nodes:
    """A head and workers of one CPU each. Removing one kills its processes, as a lost machine does."""

    def __init__(self, workers: int) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": _STORE}
        self._cluster = Cluster(initialize_head=True, connect=False, head_node_args=head)
        self._workers = [self._start() for _ in range(workers)]

    @property
    def address(self) -> str:
        """What --address takes."""
        return str(self._cluster.address)

    def add(self) -> None:
        """Another worker node joins."""
        self._workers.append(self._start())

    def remove(self) -> None:
        """The worker node that has been there for longest is lost."""
        self._cluster.remove_node(self._workers.pop(0), allow_graceful=False)

    def _start(self) -> Any:
        node = self._cluster.add_node(wait=False, num_cpus=1, object_store_memory=_STORE)
        self._cluster._wait_for_node(node, _PATIENCE)
        return node

    def shutdown(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


@contextmanager
def cluster(workers: int) -> Iterator[Nodes]:
    """A cluster that ends with the block."""
    nodes = Nodes(workers)
    try:
        yield nodes
    finally:
        nodes.shutdown()
