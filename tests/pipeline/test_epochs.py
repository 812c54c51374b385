import copy
from pathlib import Path

import pytest
import torch

from pipeline.context import LocalContext
from pipeline.epochs import Step, Training, train
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


def two_steps(epochs: int, poison: int | None = None) -> Training:
    """The tiny regression with a second optimizer on its bias, whose loss depends on the number of the epoch."""
    training = line_training(epochs)
    bias = training.network.get_parameter("bias")
    optimizer = torch.optim.SGD([bias], lr=0.01, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 4)
    now: list[int] = []

    def loss(network, batch):
        return ((bias - now[-1]) ** 2).sum() * (float("inf") if now[-1] == poison else 1.0)

    training.begin = now.append
    training.further = [Step(loss, optimizer, schedule)]
    return training


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


@pytest.mark.parametrize("cut_after", [1, 2, 3])
def test_a_resumed_training_of_two_steps_reaches_the_same_weights(cut_after):
    """Breaks when the second optimizer's momentum or schedule, or the number of the epoch, begins anew."""
    whole, cut, memory = two_steps(4), two_steps(4), Memory(cut_after)
    train(whole, Memory())
    with pytest.raises(KeyboardInterrupt):
        train(cut, memory)
    memory.cut_after = None
    resumed = two_steps(4)
    train(resumed, memory)
    assert weights(resumed) == weights(whole) != weights(trained(line_training(4)))


def trained(training: Training) -> Training:
    train(training, Memory())
    return training


def test_a_further_step_comes_after_the_first_on_each_batch():
    """Breaks when the second step is taken before, or only once an epoch, or moves what is not its own."""
    training = line_training(1)
    seen: list = []
    bias = training.network.get_parameter("bias")
    start = float(bias.detach())

    def loss(network, batch):
        seen.append("first")
        return network.get_parameter("weight").square().sum()

    def second(network, batch):
        seen.append("second")
        return bias.sum()

    optimizer = torch.optim.SGD([bias], lr=0.5)
    training.loss = loss
    training.further = [Step(second, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0))]
    train(training, Memory())
    assert seen == ["first", "second"] * 3
    assert float(bias.detach()) == pytest.approx(start - 3 * 0.5)


def test_a_further_loss_that_is_no_number_stops_the_training():
    """Breaks when only the first loss is looked at."""
    with pytest.raises(FloatingPointError, match="in epoch 2"):
        train(two_steps(3, poison=1), Memory())


def test_a_checkpoint_of_before_further_steps_is_read():
    """Breaks when a training that an earlier version began cannot be finished."""
    memory = Memory(1)
    with pytest.raises(KeyboardInterrupt):
        train(line_training(2), memory)
    state = memory.load()
    assert state is not None
    del state["further"]
    memory.data, memory.cut_after = dump_state(state), None
    resumed = line_training(2)
    train(resumed, memory)
    assert weights(resumed) == weights(trained(line_training(2)))


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
