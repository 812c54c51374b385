"""Running a plan: stage after stage, only what is missing, each stage's set committed when it is complete.

Trainings that do not wait for each other run side by side where the runner can.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from pipeline import timeline
from pipeline.errors import Stopped, UsageError
from pipeline.params import input_names
from pipeline.plan import PlannedStage, make_plan, nearest, plan_stage, recipe_path, resolve
from pipeline.progress import Progress
from pipeline.resources import Resources
from pipeline.runner import Job, Runner, trains_side_by_side
from pipeline.stage import Done, Stage, TrainStage, Upstream
from pipeline.stopping import StopSignal
from pipeline.store import Store
from pipeline.waves import at_once, waves

_LOG = structlog.get_logger("weakbox.run")
_FEW = 10


@dataclass(frozen=True)
class RunOptions:
    """What the user asked for besides the config."""

    only: str | None = None
    force: tuple[str, ...] = ()
    max_quarantined: float = 0.01
    stop: StopSignal = field(default_factory=StopSignal)


class Run:
    """One pass over the stages of a run root."""

    def __init__(
        self,
        stages: Mapping[str, Stage],
        store: Store,
        runner: Callable[[], Runner],
        resources: Resources,
        progress: Progress,
        options: RunOptions,
    ) -> None:
        self._stages = stages
        self._store = store
        self._make_runner = runner
        self._runner: Runner | None = None
        self._resources = resources
        self._progress = progress
        self._options = options
        self._done: dict[str, dict[str, Done]] = {}
        self._upstream: dict[str, Upstream] = {}
        self._timeline = threading.Lock()
        self.computed: dict[str, int] = {}

    def execute(self) -> dict[str, int]:
        """Run what is missing. Returns the number of shards computed for each stage that ran.

        Raises:
            UsageError, StageFailed, Stopped: see pipeline.errors.
        """
        for name in (*self._options.force, *filter(None, [self._options.only])):
            if name not in self._stages:
                raise UsageError(f"there is no stage {name!r}{nearest(name, self._stages)}")
        try:
            for wave in waves(self._stages):
                names = [name for name in wave if self._options.only in (None, name)]
                if names:
                    self._together([self._plan(self._stages[name]) for name in names])
        finally:
            if self._runner is not None:
                self._runner.close()
        return self.computed

    def _together(self, wave: Sequence[PlannedStage]) -> None:
        """Run the stages of a wave: at once, if they train and the runner can; what one raises waits for the others."""
        several = sum(bool(planned.missing) for planned in wave) > 1
        if not several or not trains_side_by_side(self._opened()):
            for planned in wave:
                self._stage(planned)
            return
        raised = at_once([partial(self._told, planned) for planned in wave])
        if raised:
            raise raised[0]

    def _told(self, planned: PlannedStage) -> None:
        """Run a stage beside others, which go on for hours when it fails: say so at once."""
        try:
            self._stage(planned)
        except Stopped:
            raise
        except Exception as error:
            _LOG.error("failed; the others go on", stage=planned.name, error=str(error))
            raise

    def _plan(self, stage: Stage) -> PlannedStage:
        """Plan a stage on what this run has done so far; a forced one as if nothing of it were done."""
        inputs = {
            slot: tuple(self._source(stage, source) for source in sources)
            for slot, sources in input_names(stage.params).items()
        }
        planned = plan_stage(stage, inputs, self._store)
        if stage.name in self._options.force and planned.done:
            self._store.forget(stage.name, planned.recipe, planned.keys)
            planned = plan_stage(stage, inputs, self._store)
        return planned

    def _stage(self, planned: PlannedStage) -> None:
        self._options.stop.check()
        stage, done = planned.stage, dict(planned.done)
        if planned.missing:
            self._compute(planned, done)
        self._store.commit_set(stage.name, planned.recipe, planned.shards, done)
        self._done[stage.name] = done
        self._upstream[stage.name] = planned.upstream
        self._check_quarantine(planned, done)

    def _opened(self) -> Runner:
        if self._runner is None:
            self._runner = self._make_runner()
        return self._runner

    def _compute(self, planned: PlannedStage, done: dict[str, Done]) -> None:
        stage = planned.stage
        shards = {"shards": len(planned.missing), "of": len(planned.shards)}
        _LOG.info("stage starts", stage=stage.name, **shards, why=planned.why)
        self._store.files.put_if_absent(
            recipe_path(stage.name, planned.recipe), json.dumps(planned.ingredients).encode()
        )
        stage.prepare(planned.recipe, planned.shards, self._store)
        resources = self._resources.of(stage.name, train=isinstance(stage, TrainStage), light=stage.light)
        tasks = [resolve(shard, self._done) for shard in planned.missing]
        runner, before = self._opened(), len(done)
        with self._progress.stage(stage.name, len(planned.shards), before) as bar:

            def on_done(entry: Done) -> None:
                done[entry.key] = entry
                bar.advance(entry.ok + entry.quarantined, entry.quarantined)
                self._check_quarantine(planned, done)

            job = Job(stage, planned.recipe, tasks, self._store, resources, self._options.stop)
            moment, clock = timeline.now(), time.monotonic()
            try:
                runner.run(job, on_done)
            finally:
                with self._timeline, contextlib.suppress(OSError):  # a full disk has its own error already
                    timeline.record(self._store, stage.name, moment, time.monotonic() - clock, len(done) - before)
        self.computed[stage.name] = len(planned.missing)

    def _source(self, reader: Stage, source: str) -> Upstream:
        """The upstream stage: as this run left it, or (`--only`) its newest complete set."""
        if source in self._upstream:
            return self._upstream[source]
        upstream = self._stages[source]
        newest = self._store.newest(source)
        complete = self._store.complete_set(source, *newest) if newest else None
        if newest is None or complete is None:
            raise UsageError(f"--only {reader.name}: its input {source} was never completed; run it first")
        self._warn_if_stale(upstream, newest[0], set(complete))
        self._done[source] = complete
        shards = self._store.set_shards(source, *newest)
        ingredients = json.loads(self._store.files.get(recipe_path(source, newest[0])))
        self._upstream[source] = Upstream(source, upstream.kind, newest[0], shards, ingredients)
        return self._upstream[source]

    def _warn_if_stale(self, stage: Stage, recipe: str, keys: set[str]) -> None:
        planned = make_plan(self._stages, self._store)[stage.name]
        if planned.recipe != recipe or set(planned.keys) != keys:
            _LOG.warning("stale input: the config or its data changed since it was made", stage=stage.name)

    def _check_quarantine(self, planned: PlannedStage, done: Mapping[str, Done]) -> None:
        """Stop a stage that refuses too many images: an outage must not look like bad images."""
        bad = sum(entry.quarantined for entry in done.values())
        known = sum(shard.rows or 0 for shard in planned.shards)
        total = known or sum(entry.ok + entry.quarantined for entry in done.values())
        if bad > _FEW and bad > self._options.max_quarantined * total:
            raise Stopped(
                f"{planned.name}: {bad} of {total} images quarantined, more than max_quarantined ="
                f" {self._options.max_quarantined:g}; see the quarantine table, then run again"
            )
