"""50,000 score maps of a score_maps table against the ILSVRC boxes: stage `sweep` on Ray, then the merged numbers.

Measured from the first task to the last merged number, on as many actors of one thread as there are processors; Ray's
own start is not in it. Memory is the proportional set size of the driver and its actors together, sampled: pages that
they share, the libraries above all, count once.
"""

import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from benchmarks.environment import processors
from benchmarks.figures import Measured
from benchmarks.outside_data import data_file
from jobs.ray_session import RaySession
from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.store.records import Done, Shard, ShardResult, Task
from pipeline.store.store import Store
from schemas import TABLES
from stages.scoring.arrow_tables import tallies_of
from stages.scoring.foreign.metadata_folder import MetadataFolder, read_metadata
from stages.scoring.metric_rows import Subject, swept_rows
from stages.scoring.tally import merge
from stages.sweep.options import SweepParams
from stages.sweep.stage import Sweep

GRID = 14
ROWS = 1000
BYTES = 10**9


def score_map_table(folder: Path) -> Iterator[Measured]:
    """Seconds, processor seconds and peak memory."""
    archive = data_file("wsol-metadata.tar.gz")
    if archive is None:
        for figure in ("score_maps_50000", "score_maps_50000_memory"):
            yield Measured(figure, None, 0, reason="the metadata of the standard evaluator is absent")
        return
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    metadata = read_metadata(folder / "wsol-metadata" / "ILSVRC" / "test")
    store = Store(str(folder / "run"))
    tasks = list(_tasks(metadata, store))
    session = RaySession(None, processors())
    try:
        job = Job(Sweep("sweep", SweepParams()), "made", tasks, store, StageResources(actors=processors(), cpus=1))
        with _Watch() as watch:
            done: list[Done] = []
            session.run(job, done.append)
            merged = merge(tally for one in done for tally in tallies_of(store.table(one, "counts")))
            rows = list(swept_rows(Subject("cam", "cam"), merged, len(metadata.truth.image_ids)))
    finally:
        session.close()
    images = len(metadata.truth.image_ids)
    said = ", ".join(f"{row['metric']} {row['value']:.2f}" for row in rows)
    used = f"{processors()} actors, {watch.processor_seconds:.0f} processor seconds"
    note = f"{images} maps of {GRID} x {GRID}; {used}; {said}"
    yield Measured("score_maps_50000", watch.seconds, 1, reason=note)
    yield Measured("score_maps_50000_memory", watch.peak / BYTES, 1, reason="driver and actors, proportional set size")


def _tasks(metadata: MetadataFolder, store: Store) -> Iterator[Task]:
    """Images and maps committed shard by shard, as ingest and cam leave them."""
    generator = np.random.default_rng(0)
    for start in range(0, len(metadata.truth.image_ids), ROWS):
        part = range(start, min(start + ROWS, len(metadata.truth.image_ids)))
        key = f"{start:016d}"
        images = store.commit("ingest", "made", key, ShardResult({"images": _images(metadata, part)}))
        maps = store.commit("cam", "made", key, ShardResult({"score_maps": _maps(metadata, part, generator)}))
        truth = store.commit("truth", "made", key, ShardResult({"truth": _boxes(metadata, part)}))
        yield Task(Shard(key), {"images": (images,), "truth": (truth,), "maps": (maps,)})


def _images(metadata: MetadataFolder, part: range) -> pa.Table:
    truth = metadata.truth
    return TABLES["images"].from_rows(
        [
            {
                "image_id": truth.image_ids[index],
                "uri": truth.image_ids[index],
                "width": int(truth.sizes[index, 0]),
                "height": int(truth.sizes[index, 1]),
                "label": int(truth.labels[index]),
                "label_name": str(truth.labels[index]),
                "split": "val",
                "content_hash": "0",
            }
            for index in part
        ]
    )


def _boxes(metadata: MetadataFolder, part: range) -> pa.Table:
    truth = metadata.truth
    empty: dict[str, list[str]] = {"mask_uris": [], "mask_hashes": [], "ignore_uris": [], "ignore_hashes": []}
    return TABLES["truth"].from_rows(
        [
            {
                "image_id": truth.image_ids[index],
                "boxes": [dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)) for box in truth.boxes.of(index)],
                **empty,
            }
            for index in part
        ]
    )


def _maps(metadata: MetadataFolder, part: range, generator: np.random.Generator) -> pa.Table:
    """A hill somewhere near the middle, under noise: about what a network's map looks like."""
    y, x = np.indices((GRID, GRID)) + 0.5
    truth = metadata.truth
    rows = []
    for index in part:
        centre, width = generator.normal(GRID / 2, 2, 2), generator.uniform(1.5, 5)
        hill = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))
        rows.append(
            {
                "image_id": truth.image_ids[index],
                "label": int(truth.labels[index]),
                "split": "val",
                "method": "cam",
                "height": GRID,
                "width": GRID,
                "image_height": int(truth.sizes[index, 1]),
                "image_width": int(truth.sizes[index, 0]),
                "map": (hill + generator.normal(0, 0.1, hill.shape)).astype(np.float16).ravel(),
            }
        )
    return TABLES["score_maps"].from_rows(rows)


class _Watch:
    """Wall seconds, processor seconds and peak memory of this process and its actors, while it is open."""

    def __enter__(self) -> "_Watch":
        self.peak, self._ended = 0, threading.Event()
        self._used: dict[int, float] = {}
        self._before = sum(psutil.Process().cpu_times()[:2])
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._started = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.perf_counter() - self._started
        self._ended.set()
        self._thread.join()
        own = sum(psutil.Process().cpu_times()[:2]) - self._before
        self.processor_seconds = own + sum(self._used.values())

    def _sample(self) -> None:
        while not self._ended.wait(0.5):
            total = psutil.Process().memory_full_info().pss
            for process in psutil.Process().children(recursive=True):
                try:
                    if process.name().startswith("ray::"):
                        total += process.memory_full_info().pss
                        self._used[process.pid] = sum(process.cpu_times()[:2])
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)
