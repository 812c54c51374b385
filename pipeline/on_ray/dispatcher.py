"""Gives the shards of one job to the actors of the pool: a bounded number in flight, bounded attempts, whatever dies.

A shard whose worker died is tried again as it is: processes die for many reasons, and another batch size may change the
last bits of a sum. One that killed two workers is divided until the image that kills them is alone, or, where its stage
cannot be divided, tried with half the batch. A shard that takes far longer than the others is given to a second actor,
and the first to commit wins. All times are taken by this process's own clock.
"""

import contextlib
import time
from collections import deque

import ray
import structlog
from ray import ObjectRef
from ray.exceptions import RayError, RayTaskError

from pipeline.base.errors import StageFailed, Stopped, WeakboxError
from pipeline.base.stop_signal import STOPPED
from pipeline.contract.runner import Job, OnDone
from pipeline.on_ray.actor import Result, short
from pipeline.on_ray.assignments import ATTEMPTS, DEATHS_BEFORE_DIVIDING, Assignment, Division, Part
from pipeline.on_ray.metrics import Metrics
from pipeline.on_ray.paces import Paces, Running
from pipeline.on_ray.pool import Member, Pool, died_of_its_work
from pipeline.store.records import Done

_LOG = structlog.get_logger("weakbox.ray")
_IN_FLIGHT = 2
_SETTLE_SECONDS = 30.0


class Dispatcher:
    """One pass over the tasks of a job."""

    def __init__(self, job: Job, pool: Pool, on_done: OnDone, stall_seconds: float) -> None:
        self._job, self._pool, self._on_done = job, pool, on_done
        self._queue: deque[Assignment] = deque(Assignment(task) for task in job.tasks)
        self._unfinished = {task.shard.key for task in job.tasks}
        self._paces = Paces(stall_seconds)
        self._metrics = Metrics(job.stage.name)

    def run(self) -> None:
        """Commit every shard. Raises StageFailed; Stopped after a stop signal, once the shards in work are done."""
        self._pool.open(self._job)
        while self._unfinished:
            if self._job.stop.requested:
                self._drain()
            self._pool.tend(len(self._unfinished))
            self._metrics.actors(sum(member.ready for member in self._pool.members))
            self._fill()
            self._wait()
            self._double_stalled()

    def _wait(self) -> None:
        refs = {ref: member for member in self._pool.members for ref in member.given}
        refs |= {member.loading: member for member in self._pool.members if member.loading is not None}
        ready, _ = ray.wait(list(refs), num_returns=1, timeout=1.0)
        for ref in ready:
            self._collect(refs[ref], ref)

    def _fill(self) -> None:
        """Give each actor one shard, then each a second one, so that few shards still spread over many actors."""
        for load in range(_IN_FLIGHT):
            for member in self._pool.members:
                if member.ready and len(member.given) == load:
                    self._give(member)

    def _give(self, member: Member) -> None:
        for _ in range(len(self._queue)):
            work = self._queue.popleft()
            if work.key not in self._unfinished:
                continue
            if work not in member.given.values():
                if not member.given:
                    member.since = time.monotonic()
                member.given[work.start(member.actor, self._job.recipe)] = work
                return
            self._queue.append(work)

    def _collect(self, member: Member, ref: ObjectRef[Result]) -> None:
        if ref is member.loading:
            self._loaded(member, ref)
            return
        try:
            value = ray.get(ref)
        except RayTaskError as error:
            self._failed(self._take(member, ref), error)
        except RayError as error:
            self._died(member, error)
        else:
            self._finished(self._take(member, ref), value, ref)

    def _loaded(self, member: Member, ref: ObjectRef[Result]) -> None:
        try:
            member.node = str(ray.get(ref))
            member.loading = None
        except RayTaskError as error:
            raise _as_stage_error(error, self._job.stage.name) from error
        except RayError as error:
            self._pool.lost(member, error)

    def _take(self, member: Member, ref: ObjectRef[Result]) -> Assignment:
        work = member.given.pop(ref)
        member.since = time.monotonic()
        return work

    def _finished(self, work: Assignment, value: Result, ref: ObjectRef[Result]) -> None:
        self._pool.progressed()
        if isinstance(work, Part):
            self._queue.extendleft(reversed(work.division.finished(work, ref)))
        elif work.key in self._unfinished and isinstance(value, Done):
            self._done(work, value)

    def _done(self, work: Assignment, done: Done) -> None:
        self._report(work, done)
        if work.twin:
            for member in [m for m in self._pool.members if m.head is not None and m.head.key == work.key]:
                self._requeue(self._pool.remove(member))  # it hangs, and its actor with it

    def _report(self, work: Assignment, done: Done) -> None:
        self._unfinished.discard(work.key)
        self._paces.add(Running(done.seconds, work.task.shard.rows or 1))
        self._metrics.done(done)
        self._on_done(done)

    def _failed(self, work: Assignment, error: RayTaskError) -> None:
        if isinstance(error.cause, WeakboxError):
            raise error.cause
        work.failures += 1
        if work.failures >= ATTEMPTS and work.key in self._unfinished:
            raise _as_stage_error(error, f"{self._job.stage.name}: shard {work.key} failed {ATTEMPTS} times")
        _LOG.warning("shard failed, trying again", stage=self._job.stage.name, shard=work.key, error=short(error))
        self._queue.append(work)

    def _died(self, member: Member, error: RayError) -> None:
        """Count the death against the shard that the actor was computing; requeue the rest without penalty.

        The loss of a node counts against no shard.
        """
        its_fault = died_of_its_work(member, error)
        self._pool.lost(member, error, its_fault)
        held = []
        for ref, work in member.given.items():
            value = _settled(ref)
            if value is None:
                held.append(work)
            else:
                self._finished(work, value, ref)
        if held and its_fault:
            self._requeue([*self._after_death(held[0], error), *held[1:]])
        else:
            self._requeue(held)

    def _after_death(self, work: Assignment, error: RayError) -> list[Assignment]:
        work.deaths += 1
        if work.key not in self._unfinished:
            return []
        if isinstance(work, Part):
            return work.division.died(work)
        if self._job.stage.divisible and work.deaths >= DEATHS_BEFORE_DIVIDING and type(work) is Assignment:
            _LOG.warning("shard killed its workers, dividing it", stage=self._job.stage.name, shard=work.key)
            return Division(self._job.stage, work.task, self._job.store, ray.put).first()
        if work.deaths >= ATTEMPTS:
            raise _as_stage_error(error, f"{self._job.stage.name}: shard {work.key} failed {ATTEMPTS} times")
        return [work]

    def _requeue(self, held: list[Assignment]) -> None:
        self._queue.extendleft(reversed([work for work in held if work.key in self._unfinished]))

    def _double_stalled(self) -> None:
        """Give a shard to a second actor when it is far slower than the others (`Paces`)."""
        stalled = [member for member in self._pool.members if self._stalls(member)]
        for member in stalled:
            head, *waiting = member.given.items()
            _LOG.warning("shard is slow, a second actor gets it", stage=self._job.stage.name, shard=head[1].key)
            head[1].twin = True
            member.given = dict([head])
            self._requeue([work for _, work in (head, *waiting)])
            if all(other in stalled or not other.ready for other in self._pool.members):
                self._pool.remove(member)  # no other actor could take it
                self._pool.add()

    def _stalls(self, member: Member) -> bool:
        work = member.head
        if work is None or work.twin or type(work) is not Assignment:
            return False
        return self._paces.is_slow(_running(member), map(_running, self._beside(member)))

    def _beside(self, member: Member) -> list[Member]:
        return [other for other in self._pool.members if other is not member and other.head is not None]

    def _drain(self) -> None:
        """After a stop signal: wait for the shards in work, drop the rest. The grace period bounds the wait."""
        heads = {ref: work for member in self._pool.members for ref, work in list(member.given.items())[:1]}
        while heads:
            ready, _ = ray.wait(list(heads), num_returns=1, timeout=1.0)
            for ref in ready:
                work = heads.pop(ref)
                with contextlib.suppress(RayError):  # the next run computes it
                    done = ray.get(ref)
                    if work.key in self._unfinished and not isinstance(work, Part):
                        self._report(work, done)
        raise Stopped(STOPPED)


def _settled(ref: ObjectRef[Result]) -> Result | None:
    """A result that was finished before its actor died, else None."""
    try:
        result: Result = ray.get(ref, timeout=_SETTLE_SECONDS)
    except RayError:
        return None
    return result


def _running(member: Member) -> Running:
    rows = member.head.task.shard.rows if member.head is not None else None
    return Running(time.monotonic() - member.since, rows or 1)


def _as_stage_error(error: BaseException, what: str) -> WeakboxError:
    cause = error.cause if isinstance(error, RayTaskError) else error
    return cause if isinstance(cause, WeakboxError) else StageFailed(f"{what}: {short(error)}")
