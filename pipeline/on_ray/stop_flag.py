"""How a driver asks the workers of a training, which are other processes, to stop."""

import time

from pipeline.store.store import Store

_LOOK_SECONDS = 2.0


class StopFlag:
    """An object in the store that asks a training to save and end; checked every two seconds at most."""

    def __init__(self, store: Store, path: str) -> None:
        self._store, self._path = store, path
        self._looked = float("-inf")
        self._raised = False

    @property
    def raised(self) -> bool:
        """Whether a stop was requested."""
        if not self._raised and time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = time.monotonic()
            self._raised = self._store.files.exists(self._path)
        return self._raised
