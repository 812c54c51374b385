"""The bare loop that stages are compared with: decode and features, as many processes as the stage has actors."""

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import TracebackType

import torch

from pipeline.worker.device import set_threads
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.batches import to_batch
from stages.vision.images import decode, resize
from stages.vision.inference import autocast
from stages.vision.model_card import CARD, WEIGHTS, read_card
from stages.vision.models import plain_network
from stages.vision.precision import InferencePrecision
from stages.vision.preprocessing import IMAGENET

_network: LocalizerNetwork | None = None
"""The network of this process, built once by `_set_up`."""


class BareLoop:
    """Processes of one thread each that hold the network and are handed lists of files, as actors are handed shards."""

    def __init__(
        self,
        processes: int,
        model: Mapping[str, bytes],
        size: int,
        batch_size: int,
        precision: InferencePrecision = "float32",
    ) -> None:
        self._pool = ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_set_up,
            initargs=(dict(model),),
        )
        self._arguments = size, batch_size, precision

    def __enter__(self) -> "BareLoop":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def __call__(self, lists: Sequence[Sequence[Path]]) -> list[tuple[float, int]]:
        """Run over all lists; returns for each the moment it was finished and its number of images."""
        waiting = [self._pool.submit(_forward, paths, *self._arguments) for paths in lists]
        return [(future.result(), len(paths)) for future, paths in zip(waiting, lists, strict=True)]


def _set_up(model: Mapping[str, bytes]) -> None:
    global _network
    set_threads(1)
    _network = plain_network(read_card(model[CARD]), model[WEIGHTS])


def _forward(paths: Sequence[Path], size: int, batch_size: int, precision: InferencePrecision) -> float:
    assert _network is not None, "the pool's initializer comes first"
    for start in range(0, len(paths), batch_size):
        images = [resize(decode(path.read_bytes()), size) for path in paths[start : start + batch_size]]
        with torch.inference_mode(), autocast("cpu", precision):
            _network.features(to_batch(images, IMAGENET))
    return time.monotonic()
