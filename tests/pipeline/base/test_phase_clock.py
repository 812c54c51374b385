"""Where a worker's time goes, and what `status` makes of it."""

import threading
import time

import pytest

from pipeline.base.phase_clock import PhaseClock
from pipeline.running.timeline import bottleneck, read, record, shares
from pipeline.store.records import Done
from pipeline.store.store import Store

SHORT = 0.02


def done(**phases: float) -> Done:
    return Done("cam", "r", "k", "a", {}, {}, 1, 0, 1.0, phases)


def test_inner_phases_are_taken_out_of_outer_ones_and_the_rest_is_post():
    """Breaks when reading inside of decoding is counted twice, or the sum is not the whole time."""
    clock = PhaseClock()
    clock.begin()
    started = time.perf_counter()
    with clock.timed("decode"):
        time.sleep(SHORT)
        with clock.timed("read"):
            time.sleep(2 * SHORT)
    time.sleep(SHORT)
    found = clock.end()
    assert found["decode"] == pytest.approx(SHORT, abs=SHORT)
    assert found["read"] >= 2 * SHORT
    assert found["post"] >= SHORT
    assert sum(found.values()) == pytest.approx(time.perf_counter() - started, abs=SHORT)


def test_other_threads_and_times_outside_of_a_shard_are_not_counted():
    """Breaks when threads that decode ahead make phases longer than the shard."""
    clock = PhaseClock()
    with clock.timed("read"):
        time.sleep(SHORT)
    clock.begin()

    def elsewhere() -> None:
        with clock.timed("decode"):
            time.sleep(SHORT)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert set(clock.end()) == {"post"}


def test_the_bottleneck_is_the_greatest_phase_with_idling_beside_it():
    """Breaks when waiting hides what the workers do, or shards are not added up."""
    dones = [done(decode=3.0, forward=1.0, idle=4.0), done(decode=1.0, forward=1.0)]
    assert shares(dones) == {"decode": 0.4, "idle": 0.4, "forward": 0.2}
    assert bottleneck(dones) == "decode 40 %, idle 40 %"
    assert bottleneck([done()]) == ""


def test_the_timeline_keeps_each_stage_s_last_run(tmp_path):
    """Breaks when one stage's entry replaces another's."""
    store = Store(str(tmp_path))
    assert read(store) == {}
    record(store, "cam", "2026-01-01T00:00:00+00:00", 3.21, 4)
    record(store, "ddt", "2026-01-01T00:00:05+00:00", 1.0, 1)
    assert read(store)["cam"] == {"started": "2026-01-01T00:00:00+00:00", "seconds": 3.2, "shards": 4}
    assert set(read(store)) == {"cam", "ddt"}
