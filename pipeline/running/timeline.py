"""When each stage ran and what its workers did meanwhile; for people to look at, no code depends on it."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypedDict

from pipeline.base.json_types import Json
from pipeline.base.phase_clock import IDLE
from pipeline.store.layout import TIMELINE
from pipeline.store.records import Done
from pipeline.store.sealed import value_of
from pipeline.store.store import DamagedError, Store


class StageTime(TypedDict):
    """When a stage ran: its start, wall seconds, and shards computed."""

    started: str
    seconds: float
    shards: int


def now() -> str:
    """This machine's time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def record(store: Store, stage: str, started: str, seconds: float, shards: int) -> None:
    """Record when a run computed how many shards of a stage; of two runs at once, the last one to write is seen.

    No code depends on it, so a damaged timeline begins anew.
    """
    entry: StageTime = {"started": started, "seconds": round(seconds, 1), "shards": shards}
    try:
        known = read(store)
    except DamagedError:
        known = {}
    store.write(TIMELINE, {**known, stage: entry})


def read(store: Store) -> dict[str, StageTime]:
    """Stage -> when it was computed last. Raises DamagedError."""
    return store.read(TIMELINE, read_times) or {}


def read_times(said: Mapping[str, Json]) -> dict[str, StageTime]:
    """Stage -> when it was computed last, from the object's content. Raises ValueError."""
    return {stage: _time(value_of(said, stage, dict)) for stage in said}


def _time(said: Mapping[str, Json]) -> StageTime:
    return {
        "started": value_of(said, "started", str),
        "seconds": value_of(said, "seconds", float),
        "shards": value_of(said, "shards", int),
    }


def shares(dones: Iterable[Done]) -> dict[str, float]:
    """Phase -> its share of the workers' time, the greatest first; {} where no shard has phases. Waiting is `idle`."""
    seconds: dict[str, float] = {}
    for done in dones:
        for phase, value in done.phases.items():
            seconds[phase] = seconds.get(phase, 0.0) + value
    whole = sum(seconds.values())
    ordered = sorted(seconds, key=lambda phase: -seconds[phase])
    return {phase: seconds[phase] / whole for phase in ordered} if whole > 0 else {}


def bottleneck(dones: Iterable[Done]) -> str:
    """What the workers spent most time on, idling left out, and how long they waited: `decode 61 %, idle 8 %`."""
    found = shares(dones)
    busy = [phase for phase in found if phase != IDLE]
    if not busy:
        return ""
    idle = f", idle {100 * found[IDLE]:.0f} %" if found.get(IDLE) else ""
    return f"{busy[0]} {100 * found[busy[0]]:.0f} %{idle}"
