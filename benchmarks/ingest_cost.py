"""Processor seconds of stage ingest beside those of a bare loop that reads, decodes and hashes the same files."""

import hashlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Measured
from benchmarks.pairs import REPEATS, interleaved
from pipeline.planning.walk import Walk
from pipeline.store.records import Task
from pipeline.store.store import Store
from pipeline.worker.local_context import LocalContext
from pipeline.worker.shard_worker import ShardWorker
from stages.ingest.readers.folder import FolderParams, FolderReader
from stages.ingest.stage import Ingest
from stages.vision.images import decode

IMAGES = 20_000


def ingest_cost(folder: Path, root: Path) -> Iterator[Measured]:
    """Seconds an image of a worker, commits included, to those of the loop; one thread each, of this process.

    root: holds class folders, of which the first ones with together `IMAGES` images are taken.
    """
    arms = _Arms(folder, _first_classes(folder / "classes", root))
    pairs = interleaved(arms.ingest, arms.bare_loop, REPEATS)
    stage, loop = (1e6 * seconds / arms.images for seconds in pairs.medians)
    said = f"{arms.images} images; {stage:.0f} us an image, baseline {loop:.0f} us; both decode by stages.vision.images"
    yield Measured("ingest_to_bare_loop", pairs.ratio, REPEATS, baseline_value=loop / 1e6, reason=said)


def _first_classes(folder: Path, root: Path) -> Path:
    """A data set of links to class folders."""
    folder.mkdir(parents=True)
    left = IMAGES
    for of_class in sorted(root.iterdir()):
        if left > 0:
            (folder / of_class.name).symlink_to(of_class)
            left -= sum(1 for _ in of_class.iterdir())
    return folder


class _Arms:
    """The two arms; each returns the processor seconds that it took."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder, self._root = folder, root
        params = FolderParams(root=str(root))
        self._stage = Ingest("ingest", params, FolderReader(params))
        self._recipe = Walk().recipe(self._stage).id
        shards = self._stage.list_shards(self._recipe, Store(str(folder / "empty")), payloads=True)
        self._tasks = [Task(shard, {}) for shard in shards if shard.rows == params.shard_size]
        ids = (name for task in self._tasks for name in task.shard.listed.column("image_id").to_pylist())
        self._paths = [f"{root}/{image_id}" for image_id in ids]
        self.images = len(self._paths)
        self.bare_loop()
        self.ingest()

    def bare_loop(self) -> float:
        """Read, decode, hash."""
        started = time.process_time()
        for path in self._paths:
            with open(path, "rb") as file:
                data = file.read()
            decode(data)
            hashlib.sha256(data).hexdigest()
        return time.process_time() - started

    def ingest(self) -> float:
        """Compute and commit every shard, into a run root of its own."""
        run = self._folder / "run"
        store = Store(str(run))
        worker = ShardWorker(self._stage, LocalContext(store, roots={"ingest": str(self._root)}))
        started = time.process_time()
        for task in self._tasks:
            worker.compute(self._recipe, task)
        seconds = time.process_time() - started
        shutil.rmtree(run)
        return seconds
