"""How a driver tells the workers of a training, which are other processes, that it wants to end."""

import time

from pipeline.store.store import Store

_LOOK_SECONDS = 2.0


class StopFlag:
    """An object in the store that asks for a checkpoint; looked for at most every two seconds."""

    def __init__(self, store: Store, path: str) -> None:
        self._store, self._path = store, path
        self._looked = float("-inf")
        self._raised = self._answered = False

    @property
    def raised(self) -> bool:
        """Whether a checkpoint was asked for and none was made since."""
        if not self._raised and time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = time.monotonic()
            self._raised = self._store.files.exists(self._path)
        return self._raised and not self._answered

    def answer(self) -> None:
        """A checkpoint was made: until the driver ends the training, it goes on as before."""
        self._answered = self._raised
