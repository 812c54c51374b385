"""The records of the runs of a root, and which of the runs are still active.

A run writes one small object when it begins, again every few seconds, and once more when it ends. A run that was killed
is recognized by its missing heartbeats.
"""

import dataclasses
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from pipeline.base.process import Process, look_for, this_process
from pipeline.store import layout
from pipeline.store.paths import UnsafePathError
from pipeline.store.store import DamagedError, Store

INTERVAL = 10.0
"""Seconds between two heartbeats."""

State = Literal["running", "done", "stopped", "failed"]
Life = Literal["alive", "silent", "dead", "ended"]

_MISSED = 3
_SKEW = 60.0
"""Seconds that the clock of a remote storage may differ from this machine's."""
_KEPT = 5


@dataclass(frozen=True)
class RunRecord:
    """One run. submission: id of the job that ran it, where it was submitted. computed: shards by stage.

    config: the config file or run root that the command was given. started, last_seen: by the clock of the run's
    machine, with its time zone. interval: seconds to its next heartbeat.
    """

    id: str
    host: str
    process: Process
    started: str
    last_seen: str
    interval: float
    config: str
    submission: str | None = None
    state: State = "running"
    exit_code: int | None = None
    error: str | None = None
    computed: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """A run as seen from this process. silence: seconds since its last heartbeat.

    life: `ended` if its record says so; `dead` if its process is gone; `silent` if it missed three heartbeats, and its
    process is suspended or cannot be looked for; else `alive`.
    """

    record: RunRecord
    silence: float
    life: Life

    @property
    def may_write(self) -> bool:
        """Whether it is alive, or suspended and may go on, as a suspended process is silent too."""
        return self.life == "alive" or (self.life == "silent" and look_for(self.record.process) == "alive")


def new_record(config: str, submission: str | None) -> RunRecord:
    """The record of a run that begins here and now."""
    now = datetime.now(UTC)
    name = f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    text = now.isoformat(timespec="seconds")
    return RunRecord(name, socket.gethostname(), this_process(), text, text, INTERVAL, config, submission)


def put_record(store: Store, record: RunRecord) -> None:
    """Write a run's record over its last one, as seen now."""
    seen = dataclasses.replace(record, last_seen=datetime.now(UTC).isoformat(timespec="seconds"))
    store.write(layout.run_record(record.id), dataclasses.asdict(seen))


def runs(store: Store) -> tuple[list[Seen], list[str]]:
    """The runs of a root, the newest first, and the paths of records that are damaged. Writes nothing."""
    seen, damaged, now = [], [], time.time()
    try:
        listed = {file.path: file.modified for file in store.files.listing(layout.RUNS)}
        records = store.read_each(layout.RUNS, read_record)
    except (DamagedError, UnsafePathError):
        return [], [layout.RUNS]
    for _, record in sorted(records.items(), reverse=True):
        if isinstance(record, DamagedError):
            damaged.append(record.path)
            continue
        said = listed.get(layout.run_record(record.id)) or datetime.fromisoformat(record.last_seen).timestamp()
        silence = max(0.0, now - said)
        seen.append(Seen(record, silence, _life(record, silence, 0.0 if store.files.filesystem[2] else _SKEW)))
    return seen, damaged


def live_runs(store: Store) -> list[RunRecord]:
    """The active runs of a root, suspended ones included."""
    return [seen.record for seen in runs(store)[0] if seen.may_write]


def forget_old(store: Store) -> None:
    """Remove the records of all but the newest runs that are over."""
    seen, damaged = runs(store)
    over = [layout.run_record(each.record.id) for each in seen if not each.may_write]
    for path in sorted([*over, *damaged], reverse=True)[_KEPT:]:
        store.files.remove(path)


def _life(record: RunRecord, silence: float, skew: float) -> Life:
    if record.state != "running":
        return "ended"
    if look_for(record.process) == "gone":
        return "dead"
    return "alive" if silence <= _MISSED * record.interval + skew else "silent"


def read_record(path: str, said: Mapping[str, Any]) -> RunRecord:
    """The record at `path`. Raises ValueError for content that is no such record."""
    try:
        return _checked(path, said)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it is no record of a run: {error}") from error


def _checked(path: str, said: Mapping[str, Any]) -> RunRecord:
    record = RunRecord(**{**said, "process": Process(**said["process"])})
    texts = (record.host, record.started, record.config, record.process.machine)
    numbers = (record.process.pid, record.process.started, record.interval, *record.computed.values())
    whole = (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int | float) for number in numbers)
        and all(isinstance(text, str | None) for text in (record.submission, record.error))
        and isinstance(record.exit_code, int | None)
        and record.state in get_args(State)
        and layout.run_record(record.id) == path
        and datetime.fromisoformat(record.last_seen).tzinfo is not None
    )
    if not whole:
        raise ValueError("it is no record of a run")
    return record
