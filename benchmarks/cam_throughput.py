"""Images per second of the stages `cam` and `boxes` on Ray, beside a bare loop of decoding and forward passes.

Both arms see all images in every pair, in shards of 128 and batches of 32, with one thread in each of as many processes
as there are processors. A rate counts from when every process has finished a shard until the last shard is done, so
that the start of Ray, processes and networks is in neither arm. A stage's shard is finished when its manifest is
committed; the times of both stages are added up.
"""

from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.bare_loop import BareLoop
from benchmarks.environment import processors
from benchmarks.figures import Measured
from benchmarks.pairs import interleaved
from benchmarks.photographs import CLASSES, write_photographs
from benchmarks.repeated_stages import RepeatedStages, rate
from benchmarks.scratch_model import scratch_model
from jobs.ray_session import RaySession
from pipeline.contract.runner import Runner
from pipeline.on_ray.runner import RayRunner
from stages.vision.images import decode, resize
from stages.vision.inference import images_at_once

IMAGES, SHARD, BATCH, SIZE = 2048, 128, 32, 224
BACKBONE = "mobilenet_v2"
STAGES: dict[str, dict[str, Any]] = {"cam": {"batch_size": BATCH}, "boxes": {"threshold": 0.5}}


def cam_throughput(folder: Path, images: int = IMAGES, shard: int = SHARD) -> Measured:
    """The ratio of the stages' images per second to the bare loop's; `baseline_value` is the bare loop's rate."""
    paths = write_photographs(folder / "images", images)
    lists = [paths[start : start + shard] for start in range(0, len(paths), shard)]
    threads = processors()
    sample = [resize(decode(path.read_bytes()), SIZE) for path in paths[:BATCH]]
    model = scratch_model(BACKBONE, [f"class{label}" for label in range(CLASSES)], sample)
    bench = RepeatedStages(folder, BACKBONE, STAGES, shard, threads)
    bench.prepare(model)
    session = RaySession(None, threads)
    try:
        with BareLoop(threads, model, SIZE, images_at_once(BATCH, "cpu")) as bare:
            bare(lists[: 2 * threads])
            bench.rate(session)
            pairs = interleaved(lambda: bench.rate(session), lambda: rate(bare(lists), threads))
    finally:
        session.close()
    stages, loop = pairs.medians
    note = f"cam and boxes {stages:.1f} images/s, bare loop {loop:.1f}; {threads} processes of one thread"
    return Measured("cam_stage_to_bare_loop", pairs.ratio, len(pairs.candidate), loop, note)


def two_actors_to_one(folder: Path, images: int = IMAGES, shard: int = SHARD // 2) -> Measured:
    """The ratio of images per second of stage `cam` with two actors of one thread to one such actor.

    Both pools live side by side; the one that is not measured waits. In steady state: between the first and the last
    commit.
    """
    paths = write_photographs(folder / "images", images)
    sample = [resize(decode(path.read_bytes()), SIZE) for path in paths[:BATCH]]
    model = scratch_model(BACKBONE, [f"class{label}" for label in range(CLASSES)], sample)
    benches = [RepeatedStages(folder, BACKBONE, STAGES, shard, 3, actors) for actors in (2, 1)]
    benches[0].prepare(model)
    session = RaySession(None, 3)
    runners: list[Runner] = [RayRunner(), RayRunner()]
    try:
        for bench, runner in zip(benches, runners, strict=True):
            bench.rate(runner, ("cam",))
        two, one = (partial(bench.rate, runner, ("cam",)) for bench, runner in zip(benches, runners, strict=True))
        pairs = interleaved(two, one)
    finally:
        for runner in runners:
            runner.close()
        session.close()
    rates = pairs.medians
    note = f"cam {rates[0]:.1f} images/s with two actors, {rates[1]:.1f} with one"
    return Measured("two_actors_to_one", pairs.ratio, len(pairs.candidate), rates[1], note)
