"""Images per second of several actors on one device, each a process: what `actors: 8, gpus: 0.125` gives a run."""

import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.stage_cases import Case, prepared
from pipeline.store.records import Done

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

__all__ = ["shared_rate"]

_THREADS = 2
_PATIENCE = 150.0
"""The longest wait, seconds, for all actors to end their first shard, and from then on their last."""

Report = Callable[[tuple[float, float, int]], None]


def shared_rate(folder: Path, case: Case, device: str, actors: int) -> float:
    """Images per second of all actors together, from when each has done its first shard until all are done.

    Raises: RuntimeError for an actor that failed or takes minutes.
    """
    context = get_context("spawn")
    barrier, found = context.Barrier(actors), context.SimpleQueue()
    images = max(case.batch[device], case.images[device] // actors)
    processes = [
        context.Process(target=_actor, args=(folder / str(number), case, device, images, barrier, found.put))
        for number in range(actors)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(2 * _PATIENCE)
    late = [process for process in processes if process.exitcode is None]
    for process in late:
        process.kill()
    if late or any(process.exitcode for process in processes):
        raise RuntimeError(f"{case.name} on {case.backbone}: an actor failed or took minutes")
    spans = [found.get() for _ in processes]
    seconds = max(end for _, end, _ in spans) - min(start for start, _, _ in spans)
    return sum(count for _, _, count in spans) / seconds


def _actor(folder: Path, case: Case, device: str, images: int, barrier: "Barrier", report: Report) -> None:
    """Run the stage; wait for the others once the first shard is done."""
    chain = prepared(folder, case, device, images)
    commits: list[tuple[float, int]] = []

    def on_done(done: Done) -> None:
        if not commits:
            barrier.wait(_PATIENCE)
        commits.append((time.time(), done.ok))

    chain.run(case.stage(device, _THREADS), on_done)
    report((commits[0][0], commits[-1][0], sum(count for _, count in commits[1:])))
