"""The pool of actors: started, replaced when they are lost, more of them when nodes join.

ray.util.ActorPool is not used: it waits forever for an actor whose node is gone. Here the work of a dead actor is given
out again, the pool goes on with fewer actors, and a lost one is replaced (Ray restarts and retries nothing by itself).
"""

import time
from collections.abc import Mapping

import ray
import structlog
from ray import ObjectRef
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayError

from pipeline.base.errors import StageFailed
from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.on_ray.actor import Actor, Result, end_actor, short, start_actor
from pipeline.on_ray.assignments import Assignment

_LOG = structlog.get_logger("weakbox.ray")
_LOSSES = 20
_GROW_SECONDS = 5.0
_REMIND_SECONDS = 60.0
_FIND_OUT_SECONDS = 30.0


class Member:
    """An actor and the work given to it, in order; it computes the first. `node` is None until it is ready."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.loading: ObjectRef[Result] | None = None
        self.node: str | None = None
        self.given: dict[ObjectRef[Result], Assignment] = {}
        self.since = 0.0

    @property
    def ready(self) -> bool:
        """Whether its worker is set up."""
        return self.node is not None

    @property
    def head(self) -> Assignment | None:
        """What it works on."""
        return next(iter(self.given.values()), None)


class Pool:
    """The actors of a runner. They stay for the next stage that takes the same resources.

    placement: seconds to wait for a node that an actor fits on, where the cluster has none.
    """

    def __init__(self, placement: float) -> None:
        self._placement = placement
        self._job: Job
        self._shape: StageResources | None = None
        self.members: list[Member] = []
        self._losses = 0
        self._placed = self._reminded = self._looked = time.monotonic()

    def open(self, job: Job) -> None:
        """Start a job: end actors of another shape, let the others load its stage. Raises StageFailed if none fits."""
        if self._shape != job.resources.shape():
            self.close()
        self._shape = job.resources.shape()
        self._job = job
        self._losses = 0
        self._placed = self._reminded = time.monotonic()
        for member in self.members:
            self._load(member)
        self.tend(len(job.tasks), force=True)

    def await_place(self, job: Job) -> None:
        """Wait for a node that one worker of a training fits on. Raises StageFailed when none came in time."""
        started = time.monotonic()
        while lacking := fitting(job.resources)[1]:
            job.stop.check()
            if time.monotonic() - started >= self._placement:
                raise StageFailed(f"{job.stage.name}: {lacking}")
            time.sleep(1.0)

    def close(self) -> None:
        """End all actors."""
        for member in self.members:
            end_actor(member.actor)
        self.members.clear()
        self._shape = None

    def tend(self, tasks: int, force: bool = False) -> None:
        """Start actors for nodes that joined, end those that wait for a node in vain; only every few seconds.

        tasks: how many are left. Raises StageFailed when no actor was ever placed and none can be.
        """
        now = time.monotonic()
        if self.members and not force and now - self._looked < _GROW_SECONDS:
            return
        self._looked = now
        fit, lacking = fitting(self._job.resources)
        if self._placement and self._job.resources.actors is not None:
            fit = self._job.resources.actors  # actors without a place make an autoscaler add nodes
        wanted = max(1, min(fit, tasks))
        while len(self.members) < wanted:
            self.add()
        waiting = [member for member in self.members if not member.ready]
        for member in waiting[: max(0, len(self.members) - wanted)]:
            self.remove(member)
        if any(member.ready for member in self.members):
            self._placed = self._reminded = now
        elif lacking and now - self._placed >= self._placement:
            raise StageFailed(f"{self._job.stage.name}: {lacking}")
        elif now - self._reminded >= _REMIND_SECONDS:
            self._reminded = now
            free = {name: ray.available_resources().get(name, 0.0) for name in self._job.resources.needs()}
            needs = self._job.resources.needs()
            said = lacking or "busy with other work"
            _LOG.warning("waiting for resources", stage=self._job.stage.name, needs=needs, free=free, why=said)

    def add(self) -> None:
        """Start one more actor."""
        member = Member(start_actor(self._job.store, self._job.roots, self._job.resources))
        self.members.append(member)
        self._load(member)

    def remove(self, member: Member) -> list[Assignment]:
        """End an actor; returns what it held."""
        end_actor(member.actor)
        self.members.remove(member)
        return list(member.given.values())

    def lost(self, member: Member, error: BaseException, its_own: bool = True) -> None:
        """Replace an actor that died. Raises StageFailed when too many in a row die by themselves, without their node.

        its_own: whether it died by itself.
        """
        self._losses += its_own
        if self._losses > _LOSSES:
            raise StageFailed(f"{self._job.stage.name}: {_LOSSES} actors lost without one shard done: {short(error)}")
        _LOG.warning("actor lost, replacing it", stage=self._job.stage.name, error=short(error))
        self.remove(member)  # it may only be unreachable, and would keep the resources that its replacement needs
        self.add()

    def progressed(self) -> None:
        """A shard was done: reset the count of losses."""
        self._losses = 0

    def _load(self, member: Member) -> None:
        member.given.clear()
        member.node = None
        member.loading = member.actor.load.remote(self._job.stage)


def fitting(resources: StageResources) -> tuple[int, str]:
    """How many actors fit on the cluster's nodes, at most the number asked for; and what is lacking if none does."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = [node for node in alive if resources.labels.items() <= node.get("Labels", {}).items()]
    if not nodes:
        wanted = ", ".join(f"{label}={value}" for label, value in resources.labels.items())
        return 0, f"no node has the labels {wanted}" if alive else "the cluster has no node"
    needs = resources.needs()
    most = sum(_on_node(node["Resources"], needs) for node in nodes)
    if most:
        return (most if resources.actors is None else min(resources.actors, most)), ""
    for name, need in needs.items():
        largest = max(node["Resources"].get(name, 0.0) for node in nodes)
        if largest < need:
            return 0, f"one actor needs {need:g} {name}, the largest node has {largest:g}"
    together = ", ".join(f"{need:g} {name}" for name, need in needs.items())
    return 0, f"one actor needs {together}, which no node has together"


def _on_node(has: Mapping[str, float], needs: Mapping[str, float]) -> int:
    return int(min((has.get(name, 0.0) // need for name, need in needs.items()), default=1))


def died_of_its_work(member: Member, error: RayError) -> bool:
    """Whether an actor's process died by itself, rather than with its node or by a lost connection.

    A lost connection is seen before Ray knows the cause: then the actor is called again, until Ray has found out.
    """
    if isinstance(error, ActorUnavailableError):
        try:
            ray.get(member.actor.__ray_ready__.remote(), timeout=_FIND_OUT_SECONDS)
        except GetTimeoutError:
            return False
        except RayError as known:
            error = known
        else:
            return False
    gone = any(node["NodeID"] == member.node and not node["Alive"] for node in ray.nodes())
    return not gone and "its node" not in str(error)
