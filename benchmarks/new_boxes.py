"""Boxes and masks of 100,000 finished score maps under a new threshold: stage `boxes` on Ray, no forward pass."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.environment import processors
from benchmarks.figures import Measured
from jobs.ray_session import RaySession
from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.store.records import Done, Shard, ShardResult, Task
from pipeline.store.store import Store
from schemas import TABLES
from stages.boxes.options import BoxesParams
from stages.boxes.stage import Boxes

MAPS, ROWS, GRID = 100_000, 1000, 14
HEIGHT, WIDTH = 375, 500


def new_boxes(folder: Path, maps: int = MAPS) -> Iterator[Measured]:
    """Seconds from the first task to the last commit, for both frames; Ray's own start is not in them."""
    store = Store(str(folder / "run"))
    done = [store.commit("cam", "made", f"{start:06d}", _maps(start)) for start in range(0, maps, ROWS)]
    session = RaySession(None, processors())
    try:
        for figure, params in (
            ("boxes_100000", BoxesParams(threshold=0.3)),
            ("boxes_100000_grid", BoxesParams(threshold=0.0, kind="absolute", frame="grid")),
        ):
            tasks = [Task(Shard(one.key), {"maps": (one,)}) for one in done]
            found: list[Done] = []
            stage, resources = Boxes("boxes", params), StageResources(actors=processors(), cpus=1)
            session.run(Job(stage, f"{figure}-warm", tasks[: processors()], store, resources), found.append)
            started = time.perf_counter()
            session.run(Job(stage, figure, tasks, store, resources), found.append)
            seconds = time.perf_counter() - started
            note = f"{maps} maps of {GRID}x{GRID}, images of {WIDTH}x{HEIGHT}, frame {params.frame}, masks included"
            yield Measured(figure, seconds, 1, reason=note, unit="s")
    finally:
        session.close()


def _maps(start: int) -> ShardResult:
    """A shard of made maps: a blob each, and a little noise."""
    generator = np.random.default_rng(start)
    axis = np.arange(GRID)
    centres, widths = generator.uniform(3, GRID - 3, (2, ROWS, 1)), generator.uniform(1.5, 4, (2, ROWS, 1))
    across, down = (
        np.exp(-((axis - centre) ** 2) / (2 * width**2)) for centre, width in zip(centres, widths, strict=True)
    )
    maps = down[:, :, None] * across[:, None, :] + generator.normal(0, 0.03, (ROWS, GRID, GRID)) - 0.3
    columns = {
        "image_id": [f"{number:06d}" for number in range(start, start + ROWS)],
        "label": [0] * ROWS,
        "split": ["train"] * ROWS,
        "method": ["cam"] * ROWS,
        "height": [GRID] * ROWS,
        "width": [GRID] * ROWS,
        "image_height": [HEIGHT] * ROWS,
        "image_width": [WIDTH] * ROWS,
        "map": list(maps.reshape(ROWS, -1).astype(np.float16)),
    }
    schema = TABLES["score_maps"].schema
    empty = {name: [None] * ROWS for name in schema.names if name not in columns}
    return ShardResult({"score_maps": pa.table({**columns, **empty}, schema=schema)})
