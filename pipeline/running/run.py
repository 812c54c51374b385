"""Running a plan: stage after stage, only what is missing, each stage's set committed when it is complete.

Trainings that do not depend on each other run side by side where the runner can.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import structlog

from pipeline.base.errors import Stopped, UsageError
from pipeline.base.params import upstream_names
from pipeline.base.printable import printable
from pipeline.base.stop_signal import StopSignal
from pipeline.base.suggestions import nearest
from pipeline.contract.resources import Resources
from pipeline.contract.runner import Job, Runner, trains_side_by_side
from pipeline.contract.stage import AnyStage, SourceStage, TrainStage, roots_of
from pipeline.planning.asked import AskedSets
from pipeline.planning.foresight import asks_for_packages, check_data, foresee, unrehearsed
from pipeline.planning.graph import training_groups
from pipeline.planning.plan import Listing, PlannedStage, Planner, make_plan, resolve
from pipeline.planning.walk import check_inputs
from pipeline.running import timeline
from pipeline.running.parallel import in_threads
from pipeline.running.progress import Progress, log_listings
from pipeline.store.records import CompleteSet, Done, Shard
from pipeline.store.store import Store

_LOG = structlog.get_logger("weakbox.run")
_FEW = 10


@dataclass(frozen=True)
class RunOptions:
    """What the user asked for besides the config.

    only: run this stage alone, on the newest complete sets of those that it reads. force: compute these stages again.
    listing: when the data set is listed; "never" for a stage that shows what an earlier run of this very config found.
    accepted: called before each stage, once all checks have passed.
    """

    only: str | None = None
    force: tuple[str, ...] = ()
    max_quarantined: float = 0.01
    stop: StopSignal = field(default_factory=StopSignal)
    listing: Listing = "needed"
    accepted: Callable[[], None] | None = None


class Run:
    """One pass over the stages of a run root."""

    def __init__(
        self,
        stages: Mapping[str, AnyStage],
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
        self._planner = Planner(store, options.listing, options.force)
        self._roots = roots_of(stages)
        self._done: dict[str, Mapping[str, Done]] = {}
        self._equipped: set[str] = set()
        self._listed: dict[str, Sequence[Shard]] = {}
        self._timeline = threading.Lock()
        self.computed: dict[str, int] = {}

    def execute(self) -> dict[str, int]:
        """Run what is missing. Returns the number of shards computed for each stage that ran.

        Raises:
            UsageError, StageFailed, Stopped: see pipeline.base.errors.
        """
        for name in (*self._options.force, *filter(None, [self._options.only])):
            if name not in self._stages:
                raise UsageError(f"there is no stage {name!r}{nearest(name, self._stages)}")
        groups = training_groups(self._stages)
        if self._options.only is not None:
            check_inputs(self._stages)
            self._step_on_newest(self._stages[self._options.only])
            groups = [(self._options.only,)]
        try:
            self._check_stages([self._stages[name] for name in chain.from_iterable(groups)])
            for group in groups:
                self._run_group([self._plan(self._stages[name]) for name in group])
        finally:
            if self._runner is not None:
                self._runner.close()
        return self.computed

    def _check_stages(self, stages: Sequence[AnyStage]) -> None:
        """Ask stages that were never completed for packages, and rehearse those that have to run."""
        new = [stage for stage in stages if asks_for_packages(stage) and self._store.newest(stage.name) is None]
        pending = unrehearsed(self._stages, self._store) if self._options.only is None else frozenset()
        if new or pending:
            self._call_apart(partial(foresee, self._stages, new, pending))
            self._equipped.update(stage.name for stage in new)

    def _call_apart(self, check: Callable[[], None]) -> None:
        """Call a check that may load torch, which the driver of a cluster has no other use for."""
        self._opened().call_apart(check, self._options.stop)

    def _check_data(self) -> None:
        """Judge the data sets listed so far; here, where so far nothing needed a runner."""
        check = partial(check_data, self._stages, self._listed)
        if self._runner is None:
            check()
        else:
            self._call_apart(check)

    def _plan(self, stage: AnyStage) -> PlannedStage:
        """Plan a stage on what this run has done so far; a forced one as if nothing of it were done."""
        listings = len(self._planner.listings)
        planned = self._planner.plan(stage)
        listed = self._planner.listings[listings:]
        log_listings(listed)
        if isinstance(stage, SourceStage) and self._options.only is None:
            self._listed[stage.name] = planned.shards
            self._check_data()
        if listed and isinstance(stage, SourceStage):
            stage.keep_listing(planned.recipe.id, planned.shards, self._store)
        if stage.name in self._options.force and planned.done:
            self._store.forget(stage.name, planned.recipe.id, planned.keys)
            again = self._planner.committed(stage, planned.upstream)
            planned = self._planner.plan(stage) if stage.reads_listing else again
        return planned

    def _run_group(self, group: Sequence[PlannedStage]) -> None:
        """Run the stages of a group at once, if several train and the runner can.

        Re-raises the first exception after all have finished.
        """
        several = sum(bool(planned.missing) for planned in group) > 1
        if not several or not trains_side_by_side(self._opened()):
            for planned in group:
                self._run_stage(planned)
            return
        raised = in_threads([partial(self._run_beside_others, planned) for planned in group])
        if raised:
            raise raised[0]

    def _run_beside_others(self, planned: PlannedStage) -> None:
        """Run a stage; when it fails, say so at once, for the others may go on for hours."""
        try:
            self._run_stage(planned)
        except Stopped:
            raise
        except Exception as error:
            _LOG.error("failed; the others go on", stage=planned.name, error=str(error))
            raise

    def _run_stage(self, planned: PlannedStage) -> None:
        """Compute what is missing of a stage, and declare it complete."""
        self._options.stop.check()
        if self._options.accepted is not None:
            self._options.accepted()
        done = dict(planned.done)
        if planned.missing:
            self._compute(planned, done)
        elif self._store.recipe(planned.name, planned.recipe.id) is None:
            self._store.keep_recipe(planned.name, planned.recipe)
        upstream = self._planner.settle(planned.stage, planned.upstream, done)
        self._store.commit_set(planned.name, planned.recipe.id, upstream.shards, done)
        self._done[planned.name] = done
        planned.stage.tell(self._store, done)
        self._check_quarantine(planned, done)

    def _opened(self) -> Runner:
        if self._runner is None:
            self._runner = self._make_runner()
        return self._runner

    def _compute(self, planned: PlannedStage, done: dict[str, Done]) -> None:
        stage, recipe = planned.stage, planned.recipe
        shards = {"shards": len(planned.missing), "of": len(planned.shards)}
        _LOG.info("stage starts", stage=stage.name, **shards, why=planned.why)
        self._store.keep_recipe(stage.name, recipe)
        if asks_for_packages(stage) and stage.name not in self._equipped:
            self._call_apart(stage.check_packages)
        resources = self._resources.of(stage.name, train=isinstance(stage, TrainStage), light=stage.light)
        tasks = [resolve(shard, self._done) for shard in planned.missing]
        runner, before = self._opened(), len(done)
        with self._progress.stage(stage.name, len(planned.shards), before) as bar:

            def on_done(entry: Done) -> None:
                done[entry.key] = entry
                bar.advance(entry.ok + entry.quarantined, entry.quarantined)
                self._check_quarantine(planned, done)

            job = Job(stage, recipe.id, tasks, self._store, resources, self._options.stop, self._roots)
            moment, clock = timeline.now(), time.monotonic()
            try:
                runner.run(job, on_done)
            finally:
                with self._timeline, contextlib.suppress(OSError):  # a full disk has its own error already
                    timeline.record(self._store, stage.name, moment, time.monotonic() - clock, len(done) - before)
        self.computed[stage.name] = len(planned.missing)

    def _step_on_newest(self, stage: AnyStage) -> None:
        """Let a stage read the newest complete sets of its inputs. Raises UsageError for one that has none."""
        names = sorted(upstream_names(stage.params))
        if stage.reads_listing:
            names = [name for name in names if not self._step_on_listing(stage, self._stages[name])]
        complete = {name: self._complete(stage, name) for name in names}
        for name, found in complete.items():
            if self._planner.walk.step_on_set(self._stages[name], found, self._store) is None:
                raise UsageError(f"--only {stage.name}: the recipe of its input {name} was not kept; run it again")
            self._done[name] = found.dones
        inputs = self._planner.walk.inputs(stage)
        stage.rehearse(inputs)
        stage.check_data(inputs)
        if complete and self._options.listing != "never":
            self._warn_of_stale(complete)

    def _step_on_listing(self, reader: AnyStage, source: AnyStage) -> bool:
        """Let a stage read the current listing of `source`; False if that is no data set. Raises UsageError."""
        if not isinstance(source, SourceStage):
            return False
        planned = self._plan(source)
        if planned.missing:
            raise UsageError(f"--only {reader.name}: {source.name} is to run ({planned.why}); run it first")
        self._done[source.name] = planned.done
        return True

    def _complete(self, reader: AnyStage, name: str) -> CompleteSet:
        if self._options.listing == "never":
            complete = AskedSets(self._stages, self._store).of(name)
            if complete is None:
                raise UsageError(
                    f"{reader.name}: its input {name} was not run with this config on the data as listed last; run it"
                    " first"
                )
            return complete
        complete = self._store.newest_set(name)
        if complete is None:
            raise UsageError(f"--only {reader.name}: its input {name} was never completed; run it first")
        return complete

    def _warn_of_stale(self, complete: Mapping[str, CompleteSet]) -> None:
        planned = make_plan(self._stages, self._store, "never")
        for name, found in complete.items():
            if planned[name].recipe.id != found.recipe or set(planned[name].keys) != found.dones.keys():
                _LOG.warning(
                    "stale input: the config, or the data as listed last, changed since it was made",
                    stage=name,
                )

    def _check_quarantine(self, planned: PlannedStage, done: Mapping[str, Done]) -> None:
        """Stop a stage that quarantines too many images: an outage must not look like bad images."""
        bad = sum(entry.quarantined for entry in done.values())
        known = sum(shard.rows or 0 for shard in planned.shards)
        total = known or sum(entry.ok + entry.quarantined for entry in done.values())
        if bad > _FEW and bad > self._options.max_quarantined * total:
            raise Stopped(
                f"{planned.name}: {bad} of {total} images quarantined, more than max_quarantined ="
                f" {self._options.max_quarantined:g}: {self._refused(done.values())}; see the quarantine table,"
                " then run again"
            )

    def _refused(self, done: Iterable[Done]) -> str:
        """One of the quarantined images, and why."""
        found = next(entry for entry in done if entry.quarantined)
        row = self._store.table(found, "quarantine", ("image_id", "reason")).slice(0, 1).to_pylist()[0]
        return f"{printable(row['image_id'])}: {printable(row['reason'])}"
