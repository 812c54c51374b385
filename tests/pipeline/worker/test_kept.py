import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.worker.kept import Kept


def test_a_value_is_made_once_though_many_threads_ask():
    """Breaks when each of eight threads fetches the same page."""
    kept: Kept[str, int] = Kept(10)
    made, gate = [], threading.Barrier(8)

    def make():
        made.append(1)
        return 7

    def ask():
        gate.wait()
        return kept.get("a", make)

    with ThreadPoolExecutor(8) as pool:
        assert {future.result() for future in [pool.submit(ask) for _ in range(8)]} == {7}
    assert len(made) == 1


def test_the_oldest_go_when_there_is_too_much():
    """Breaks when pages pile up in memory, or the one that is in use is dropped."""
    kept: Kept[str, bytes] = Kept(10, len)
    for name in "abc":
        kept.get(name, lambda: b"1234")
    assert (kept.peek("a"), kept.peek("b"), kept.peek("c")) == (None, b"1234", b"1234")
    kept.get("b", lambda: b"never made")
    kept.get("d", lambda: b"1234")
    assert (kept.peek("b"), kept.peek("c")) == (b"1234", None)
    assert kept.get("large", lambda: b"x" * 100) == b"x" * 100
    assert (kept.peek("large"), kept.peek("b"), kept.peek("d")) == (b"x" * 100, None, None)


def test_what_cannot_be_made_is_tried_again():
    """Breaks when one failed read is remembered for ever, or its error is lost."""
    kept: Kept[str, int] = Kept(10)

    def fail():
        raise OSError("no answer")

    with pytest.raises(OSError, match="no answer"):
        kept.get("a", fail)
    assert kept.peek("a") is None
    assert kept.get("a", lambda: 1) == 1
