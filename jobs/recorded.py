"""A run that writes a heartbeat into its root, so that `status` tells what became of it."""

import os
from collections.abc import Collection
from functools import cache, partial

from jobs.options import SUBMISSION
from jobs.target import Target, mark, remember
from pipeline.base.errors import WeakboxError
from pipeline.running.heartbeat import Heartbeat
from pipeline.running.run import RunOptions
from pipeline.store.run_records import new_record

__all__ = ["execute"]


def execute(
    target: Target,
    named: str,
    address: str | None = None,
    *,
    in_process: bool,
    only: str | None = None,
    force: Collection[str] = (),
    max_quarantined: float | None = None,
) -> dict[str, int]:
    """Run what is missing; returns the number of shards computed for each stage that ran.

    named: the target as the user named it. address, in_process: as in `Target.execute`. max_quarantined: None: the
    config's. Raises: what the run raises, once it is recorded.
    """
    mark(target)
    heartbeat = Heartbeat(target.store, new_record(named, os.environ.get(SUBMISSION)))
    heartbeat.start()
    try:
        quarantined = target.config.max_quarantined if max_quarantined is None else max_quarantined
        accepted = cache(partial(remember, target))
        computed = target.execute(address, in_process, RunOptions(only, tuple(force), quarantined, accepted=accepted))
    except BaseException as error:
        code = error.exit_code if isinstance(error, WeakboxError) else 3 if isinstance(error, KeyboardInterrupt) else 1
        heartbeat.end("stopped" if code == 3 else "failed", code, error=str(error))
        raise
    heartbeat.end("done", 0, computed=computed)
    return computed
