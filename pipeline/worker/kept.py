"""A cache of values by key: each is made once even if several threads ask for it; the least recently used go first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """A cache. most: the largest sum of weights, which the newest value alone may exceed. weigh: None weighs 1 each."""

    def __init__(self, most: int, weigh: Callable[[V], int] | None = None) -> None:
        self._most, self._weigh = most, weigh or (lambda value: 1)
        self._values: OrderedDict[K, Future[V]] = OrderedDict()
        self._weight = 0
        self._lock = Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value; made here, or by another thread, which is waited for. Raises what `make` raises."""
        with self._lock:
            future = self._values.get(key)
            mine = future is None
            if future is None:
                future = self._values[key] = Future()
            self._values.move_to_end(key)
        if mine:
            self._make(key, future, make)
        return future.result()

    def peek(self, key: K) -> V | None:
        """The value, if it is there."""
        with self._lock:
            future = self._values.get(key)
        return future.result() if future is not None and future.done() and not future.exception() else None

    def _make(self, key: K, future: Future[V], make: Callable[[], V]) -> None:
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._values[key]
            future.set_exception(error)
            return
        future.set_result(value)
        with self._lock:
            self._weight += self._weigh(value)
            for old in [key for key, other in self._values.items() if other.done() and other is not future]:
                if self._weight <= self._most:
                    break
                self._weight -= self._weigh(self._values.pop(old).result())
