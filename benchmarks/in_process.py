"""A few stages one after another in this process, on one device, with nothing of Ray, the config or the command."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.contract.stage import AnyStage
from pipeline.planning.plan import PlannedStage, Planner, resolve
from pipeline.running.in_process import InProcessRunner
from pipeline.store.records import Done
from pipeline.store.store import Store


class Chain:
    """Runs stages below one root; each reads those that ran before by the names in its parameters."""

    def __init__(self, root: Path, device: str) -> None:
        self.store = Store(str(root))
        self._planner = Planner(self.store)
        self._resources = StageResources(gpus=1 if device == "cuda" else 0)
        self._planned: dict[str, PlannedStage] = {}
        self._done: dict[str, dict[str, Done]] = {}

    def run(self, stage: AnyStage, on_done: Callable[[Done], None] = lambda done: None) -> None:
        """Compute what is missing of a stage."""
        planned = self._planner.plan(stage)
        self._planned[stage.name], self._done[stage.name] = planned, dict(planned.done)

        def collect(done: Done) -> None:
            self._done[stage.name][done.key] = done
            on_done(done)

        tasks = [resolve(shard, self._done) for shard in planned.missing]
        InProcessRunner().run(Job(stage, planned.recipe.id, tasks, self.store, self._resources), collect)

    def table(self, stage: str, name: str) -> pa.Table:
        """A whole table of a stage, rows in the order of the plan."""
        done = self._done[stage]
        return pa.concat_tables(self.store.table(done[key], name) for key in self._planned[stage].keys)

    def blob(self, stage: str, name: str) -> bytes:
        """A blob of a stage's only shard."""
        (done,) = self._done[stage].values()
        return self.store.blob(done, name)

    def maps(self, stage: str) -> np.ndarray:
        """All score maps of a stage, (N, h, w) float32, by image id."""
        table = self.table(stage, "score_maps").sort_by("image_id")
        values = table.column("map").combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        return values.reshape(table.num_rows, table.column("height")[0].as_py(), table.column("width")[0].as_py())
