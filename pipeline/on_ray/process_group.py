"""How the workers of a training find each other: over the network, or by a file where all are on one machine."""

import os
import tempfile
from datetime import timedelta
from typing import Any

import ray
import torch.distributed
from ray.train.backend import BackendConfig
from ray.train.torch import TorchConfig, get_device
from ray.train.torch.config import _TorchBackend

_LOOPBACK = "127.0.0.1"
_TIMEOUT = timedelta(minutes=30)  # of one collective operation, as in Ray Train


def torch_config() -> TorchConfig:
    """How Ray Train joins its workers: by a file where all nodes of this Ray are at 127.0.0.1.

    Elsewhere it is torch's TCPStore, which listens on all addresses of rank 0's machine and asks for no login.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return FileConfig() if all(node["NodeManagerAddress"] == _LOOPBACK for node in nodes) else TorchConfig()


class FileConfig(TorchConfig):
    """Workers find each other by a file in the folder of this Ray, which is removed when Ray ends."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What Ray Train calls when its workers have started."""
        return _FileBackend


class _FileBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Join the workers, by a new file at each restart."""
        path = os.path.join(tempfile.mkdtemp(prefix="train-", dir=os.environ.get("RAY_TMPDIR")), "store")
        size = len(worker_group)
        joins = [worker_group.execute_single_async(rank, _join, path, rank, size) for rank in range(size)]
        ray.get(joins)


def _join(path: str, rank: int, size: int) -> None:
    backend = "nccl" if get_device().type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, f"file://{path}", rank=rank, world_size=size, timeout=_TIMEOUT)
