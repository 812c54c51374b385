"""Which shards are slow, by what finished lately and what runs beside them."""

import pytest

from pipeline.on_ray.paces import Paces, Running


def paces(*seconds: float, least: float = 30.0) -> Paces:
    """After shards of 100 rows that took so long."""
    made = Paces(least)
    for taken in seconds:
        made.add(Running(taken, 100))
    return made


@pytest.mark.parametrize(
    ("seconds", "beside", "slow"),
    [
        (45.0, [5.0], False),
        (55.0, [5.0], True),
        (55.0, [], True),
        (55.0, [50.0], False),
        (450.0, [40.0], True),
        (450.0, [440.0], False),
        (510.0, [505.0], True),
    ],
)
def test_a_shard_is_slow_against_those_that_run_now(seconds, beside, slow):
    """Breaks when the whole machine is slow and every shard is computed twice, or when all hang and none is."""
    found = paces(5.0, 5.0, 5.0).is_slow(Running(seconds, 100), [Running(other, 100) for other in beside])
    assert found is slow


def test_what_finished_long_ago_does_not_count():
    """Breaks when shards of an idle machine say for ever how long one may take."""
    fast = [1.0] * 100
    assert paces(*fast).is_slow(Running(60.0, 100), [])
    assert not paces(*fast, *[20.0] * 16).is_slow(Running(60.0, 100), [])


def test_large_shards_may_take_longer():
    """Breaks when seconds are compared, not seconds a row."""
    assert not paces(5.0, 5.0, 5.0).is_slow(Running(60.0, 1000), [])


def test_nothing_is_slow_before_some_finished_or_in_the_first_seconds():
    """Breaks when the first shards, which wait for caches, are doubled, or short ones by a hiccup."""
    assert not paces(5.0, 5.0).is_slow(Running(1e6, 100), [])
    assert not paces(0.1, 0.1, 0.1).is_slow(Running(29.0, 100), [])
