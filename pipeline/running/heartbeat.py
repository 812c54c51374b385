"""The heartbeat of a run, in its run root."""

import contextlib
import dataclasses
import threading
from collections.abc import Mapping

import structlog

from pipeline.store.run_records import RunRecord, State, forget_old, put_record
from pipeline.store.store import Store

_LOG = structlog.get_logger("weakbox.run")


class Heartbeat:
    """Writes a run's record when it begins, every `record.interval` seconds, and when it ends.

    A record that cannot be written never ends a run: a full disk has its own error, a storage that fails may recover.
    """

    def __init__(self, store: Store, record: RunRecord) -> None:
        self._store = store
        self._record = record
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Write the first record, and remove those of old runs."""
        with contextlib.suppress(Exception):
            forget_old(self._store)
        self._put()
        self._thread.start()

    def end(
        self,
        state: State,
        exit_code: int,
        error: str | None = None,
        computed: Mapping[str, int] | None = None,
    ) -> None:
        """Write how the run ended; no heartbeat follows."""
        self._ended.set()
        self._thread.join()
        self._record = dataclasses.replace(
            self._record, state=state, exit_code=exit_code, error=error, computed=computed or {}
        )
        self._put()

    def _beat(self) -> None:
        while not self._ended.wait(self._record.interval):
            self._put()

    def _put(self) -> None:
        try:
            put_record(self._store, self._record)
        except Exception as error:
            _LOG.debug("the heartbeat cannot be written", error=str(error))
