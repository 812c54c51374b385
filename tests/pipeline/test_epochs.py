import copy
from pathlib import Path

import pytest
import torch

from pipeline.context import LocalContext
from pipeline.epochs import train
from pipeline.store import Store
from pipeline.trainer import InProcessTrainContext, dump_state, load_state
from tests.pipeline.fakes import epochs_of, line_training


class Memory(InProcessTrainContext):
    """A TrainContext that keeps its checkpoint as bytes, and may be cut off after some epochs."""

    def __init__(self, cut_after: int | None = None) -> None:
        super().__init__(LocalContext(Store("memory://epochs")), "state.pt")
        self.data: bytes | None = None
        self.saved = 0
        self.progress: list = []
        self.cut_after = cut_after

    def load(self):
        return None if self.data is None else load_state(self.data)

    def save(self, state, progress):
        self.data = dump_state(state)
        self.progress.append(dict(progress))
        self.saved += 1
        if self.saved == self.cut_after:
            raise KeyboardInterrupt


def weights(training) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in training.network.state_dict().values())


@pytest.mark.parametrize("cut_after", [1, 2, 3])
def test_a_resumed_training_reaches_the_same_weights(cut_after):
    """Breaks when randomness, momentum or the schedule does not go on where the checkpoint left it."""
    whole, context = line_training(4), Memory()
    log = train(whole, context)
    cut, memory = line_training(4), Memory(cut_after)
    with pytest.raises(KeyboardInterrupt):
        train(cut, memory)
    memory.cut_after = None
    torch.manual_seed(999)
    resumed = line_training(4)
    resumed_log = train(resumed, memory)
    assert weights(resumed) == weights(whole)
    assert resumed_log == log
    assert epochs_of(log) == [1, 2, 3, 4]
    assert memory.saved == 4


def test_a_finished_training_is_not_trained_again(log):
    """Breaks when a training that was cut off between its last epoch and its commit starts over."""
    memory = Memory()
    train(line_training(2), memory)
    done = len(log.computed)
    train(line_training(2), memory)
    assert len(log.computed) == done


def test_progress_counts_epochs():
    """Breaks when the progress line says less than epoch, of how many, and loss."""
    memory = Memory()
    log = train(line_training(2), memory)
    assert memory.progress == [{"epoch": n + 1, "epochs": 2, "loss": entry.loss} for n, entry in enumerate(log)]
    assert log[0].images == 24
    assert log[1].learning_rate < 0.1


def test_a_loss_that_is_no_number_stops_the_training():
    """Breaks when a diverged network is kept as if it had been trained; the last good epoch stays checkpointed."""
    memory = Memory()
    with pytest.raises(FloatingPointError, match=r"nan in epoch 2; lower the learning rate"):
        train(line_training(3, poison=1), memory)
    checkpoint = memory.load()
    assert checkpoint is not None
    assert len(checkpoint["log"]) == 1


def test_the_callers_random_numbers_do_not_matter():
    """Breaks when an epoch's dropout depends on what ran before in the process."""
    torch.manual_seed(1)
    first = line_training(2)
    train(first, Memory())
    second = line_training(2)
    torch.rand(100)
    train(second, Memory())
    assert weights(first) == weights(second)


def test_checkpoints_hold_data_not_code():
    """Breaks when reading a checkpoint could run code that somebody put into a bucket."""
    state = {"network": {"weight": torch.ones(2)}, "log": [[1, 0.5, 8, 0.1]]}
    back = load_state(dump_state(copy.deepcopy(state)))
    assert back["log"] == state["log"]
    assert torch.equal(back["network"]["weight"], torch.ones(2))
    with pytest.raises(Exception, match=r"(?i)weights.?only"):
        load_state(dump_state({"bad": Path("a")}))
