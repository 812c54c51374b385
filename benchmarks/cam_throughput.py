"""Images per second of the stages `cam` and `boxes` on Ray, beside a bare loop of decoding and forward passes.

Both arms see all images in every pair, in shards of 128 and batches of 32, with one thread in each of as many processes
as there are processors. Each arm's rate is taken between its first and its last finished shard: the start of Ray,
processes and networks is in neither. A stage's shard is finished when its manifest is committed; the images of both
stages take the sum of their times.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.bare_loop import BareLoop
from benchmarks.environment import processors
from benchmarks.figures import Measured
from benchmarks.pairs import interleaved
from benchmarks.photographs import CLASSES, write_photographs
from benchmarks.scratch_model import scratch_model
from jobs.ray_session import RaySession
from pipeline.config import parse_config
from pipeline.on_ray.runner import RayRunner
from pipeline.plan import make_plan
from pipeline.progress import NoProgress, Progress
from pipeline.run import Run, RunOptions
from pipeline.runner import InProcessRunner, Job, OnDone, Runner
from pipeline.stage import ShardResult
from pipeline.store import Store
from schemas import TABLES
from stages import catalog
from stages.vision.images import decode, resize

IMAGES, SHARD, BATCH, SIZE = 2048, 128, 32, 224
BACKBONE = "mobilenet_v2"
MEASURED = ("cam", "boxes")


def cam_throughput(folder: Path, images: int = IMAGES, shard: int = SHARD) -> Measured:
    """The ratio of the stages' images per second to the bare loop's; `baseline_value` is the bare loop's rate."""
    paths = write_photographs(folder / "images", images)
    lists = [paths[start : start + shard] for start in range(0, len(paths), shard)]
    threads = processors()
    sample = [resize(decode(path.read_bytes()), SIZE) for path in paths[:BATCH]]
    model = scratch_model(BACKBONE, [f"class{label}" for label in range(CLASSES)], sample)
    bench = _Stages(folder, shard, threads)
    bench.prepare(model)
    session = RaySession(None, threads)
    try:
        with BareLoop(threads, model, SIZE, BATCH) as bare:
            bare(lists[: 2 * threads])
            bench.rate(session)
            pairs = interleaved(lambda: bench.rate(session), lambda: rate(bare(lists)))
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
    benches = [_Stages(folder, shard, 3, actors) for actors in (2, 1)]
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


class _Stages:
    """A run whose stages `cam` and `boxes` are computed again and again."""

    def __init__(self, folder: Path, shard: int, threads: int, actors: int | None = None) -> None:
        config = parse_config(
            {
                "run_root": str(folder / "run"),
                "dataset": {"reader": "folder", "root": str(folder / "images"), "shard_size": shard},
                "stages": {
                    "classify": {"backbone": BACKBONE, "epochs": 0},
                    "cam": {"batch_size": BATCH},
                    "boxes": {"threshold": 0.5},
                },
                "resources": {"num_cpus": threads, "actors": actors},
            }
        )
        self._stages = config.stage_objects(catalog)
        self._store = Store(config.run_root)
        self._resources = config.resources.resources()

    def prepare(self, model: dict[str, bytes]) -> None:
        """Ingest the images and commit the classifier."""
        self._run(InProcessRunner(), NoProgress(), RunOptions(only="ingest"))
        classify = make_plan(self._stages, self._store)["classify"]
        result = ShardResult({"training": TABLES["training"].empty()}, model)
        self._store.commit(classify.name, classify.recipe, classify.keys[0], result)

    def rate(self, runner: Runner, stages: tuple[str, ...] = MEASURED) -> float:
        """Images per second of these stages, one after the other, in one pass of both."""
        times = CommitTimes()
        self._run(_Kept(runner), times, RunOptions(force=MEASURED))
        return 1 / sum(1 / rate(times.commits[name]) for name in stages)

    def _run(self, runner: Runner, progress: Progress, options: RunOptions) -> None:
        Run(self._stages, self._store, lambda: runner, self._resources, progress, options).execute()


def rate(commits: Sequence[tuple[float, int]]) -> float:
    """Rows per second between the first and the last commit; commits: (moment in seconds, rows), in any order."""
    ordered = sorted(commits)
    return sum(rows for _, rows in ordered[1:]) / (ordered[-1][0] - ordered[0][0])


class CommitTimes:
    """A Progress that only remembers when each shard was committed: stage -> [(moment, rows)]."""

    def __init__(self) -> None:
        self.commits: dict[str, list[tuple[float, int]]] = {}

    @contextmanager
    def stage(self, name: str, shards: int, done: int) -> Iterator["_Clock"]:
        """Watch one stage."""
        yield _Clock(self.commits.setdefault(name, []))


class _Clock:
    def __init__(self, commits: list[tuple[float, int]]) -> None:
        self._commits = commits

    def advance(self, rows: int, bad: int) -> None:
        self._commits.append((time.monotonic(), rows))


class _Kept:
    """A runner that outlives the runs that use it: its actors stay warm."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def run(self, job: Job, on_done: OnDone) -> None:
        self._runner.run(job, on_done)

    def close(self) -> Any:
        """Do nothing: the session that made the runner ends it, after the last pass."""
