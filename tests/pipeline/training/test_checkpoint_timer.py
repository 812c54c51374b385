import time
from types import SimpleNamespace

import pytest
import torch
from torch import distributed

from pipeline.training.checkpoint_timer import CheckpointTimer


@pytest.fixture
def moment(monkeypatch):
    """The time, which stands still unless a test moves it."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.seconds)
    return now


def context(rank=0, world_size=1, seconds=600.0):
    return SimpleNamespace(rank=rank, world_size=world_size, device="cpu", save_seconds=seconds)


def test_a_training_is_saved_when_the_interval_is_over(moment):
    """Breaks when a single worker saves too early or too late, or again at once."""
    clock = CheckpointTimer(context(seconds=10))
    due = []
    for step in range(1, 31):
        moment.seconds += 1
        if clock.due():
            due.append(step)
            clock.saved()
    assert due == [10, 20, 30]


def test_no_time_between_checkpoints_saves_each_step(moment):
    """Breaks when an interval of 0 is none."""
    clock = CheckpointTimer(context(seconds=0))
    assert [clock.due() for _ in range(3)] == [True, True, True]


@pytest.mark.parametrize("pace", [0.02, 0.5, 7.0])
def test_ranks_agree_and_seldom_talk(moment, monkeypatch, pace):
    """Breaks when ranks save at different steps, which would hang them, or wait for each other at each short step."""
    said: list[int] = []
    speaking: list[int] = []

    def broadcast(tensor, src):
        if speaking[-1] == src:
            said.append(int(tensor))
        tensor.copy_(torch.tensor(said[-1]))

    monkeypatch.setattr(distributed, "broadcast", broadcast)
    clocks = [CheckpointTimer(context(rank=number, world_size=2)) for number in range(2)]
    clocks[1]._since -= 300
    saved = []
    for _ in range(int(1300 / pace)):
        moment.seconds += pace
        due = []
        for rank, clock in enumerate(clocks):
            speaking.append(rank)
            due.append(clock.due())
        assert due[0] == due[1]
        if due[0]:
            saved.append(moment.seconds)
            for clock in clocks:
                clock.saved()
    assert saved == pytest.approx([700, 1300], abs=2 * pace + 1)
    assert len(said) < min(1300 / pace, 1300 / 2 + 120)


def test_a_pace_that_drops_delays_a_checkpoint_little(moment, monkeypatch):
    """Breaks when ranks that count on fast steps look at the clock long after the interval."""
    monkeypatch.setattr(distributed, "broadcast", lambda tensor, src: None)
    clock = CheckpointTimer(context(world_size=2))
    moment.seconds += 0.1
    while not clock.due():
        moment.seconds += 0.1 if moment.seconds < 101 else 0.4
    assert moment.seconds - 100 < 1.5 * 600


def test_a_request_to_stop_is_heard_within_seconds(moment, monkeypatch):
    """Breaks when several workers look at rank 0's wish only at a quarter of ten minutes."""
    monkeypatch.setattr(distributed, "broadcast", lambda tensor, src: None)
    training = context(world_size=2)
    clock = CheckpointTimer(training)
    for _ in range(100):
        moment.seconds += 0.1
        assert not clock.due()
    training.save_seconds = 0.0
    asked = moment.seconds
    while not clock.due():
        moment.seconds += 0.1
    assert moment.seconds - asked < 3
