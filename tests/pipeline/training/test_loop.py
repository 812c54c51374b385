import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.base.errors import StageFailed, Stopped
from pipeline.base.stop_signal import StopSignal
from pipeline.contract.resources import StageResources
from pipeline.store.store import Store
from pipeline.training.checkpoint import dump_checkpoint, load_checkpoint
from pipeline.training.draws import StepDraws
from pipeline.training.in_process import InProcessTrainContext
from pipeline.training.loop import Training, train
from pipeline.training.step import Step
from pipeline.worker.local_context import LocalContext
from tests.pipeline.fakes import STEPS, checkpoint_of, epochs_of, line_training


class Memory(InProcessTrainContext):
    """A TrainContext that keeps its checkpoint as bytes, and may be cut off after some checkpoints."""

    def __init__(self, cut_after: int | None = None, save_minutes: float = 10.0) -> None:
        super().__init__(
            LocalContext(Store("memory://epochs")), "state.pt", resources=StageResources(save_minutes=save_minutes)
        )
        self.data: bytes | None = None
        self.saved = 0
        self.progress: list = []
        self.cut_after = cut_after

    def load(self):
        return None if self.data is None else load_checkpoint(self.data, "state.pt")

    def save(self, state, progress):
        self.data = dump_checkpoint(state)
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


@pytest.mark.parametrize("make", [line_training, two_steps])
@pytest.mark.parametrize("cut_after", range(1, 12))
def test_a_training_cut_off_after_any_step_reaches_the_same_weights(log, make, cut_after):
    """Breaks when a step's random numbers depend on those before, or a sum of the epoch is not in its checkpoint."""
    whole, expected = make(3), Memory(save_minutes=0)
    lines = train(whole, expected)
    assert expected.saved == 3 * (STEPS + 1)
    log.computed.clear()
    memory = Memory(cut_after, save_minutes=0)
    with pytest.raises(KeyboardInterrupt):
        train(make(3), memory)
    memory.cut_after = None
    torch.manual_seed(999)
    resumed = make(3)
    assert train(resumed, memory) == lines
    assert weights(resumed) == weights(whole)
    taken = [step for kind, step in log.computed if kind == "step"]
    assert taken == [f"{epoch}.{step}" for epoch in range(3) for step in range(STEPS)], "each batch is made once"


def test_checkpoints_inside_an_epoch_change_nothing():
    """Breaks when a checkpoint draws random numbers or touches what it saves."""
    often, seldom = line_training(3), line_training(3)
    assert train(often, Memory(save_minutes=0)) == train(seldom, Memory())
    assert weights(often) == weights(seldom)


def test_a_checkpoint_inside_an_epoch_says_where_it_is():
    """Breaks when a running epoch counts as finished, which would end a stopped run's last training too early."""
    memory = Memory(save_minutes=0)
    train(line_training(1), memory)
    assert [(said["epoch"], said.get("steps")) for said in memory.progress] == [(0, 1), (0, 2), (0, 3), (1, None)]


def test_a_diverged_epoch_is_not_checkpointed_inside():
    """Breaks when a resumed training starts from weights that are no numbers."""
    memory = Memory(save_minutes=0)
    with pytest.raises(FloatingPointError, match="in epoch 2"):
        train(line_training(3, poison=1), memory)
    assert memory.progress[-1]["epoch"] == 1


@pytest.mark.parametrize("cut_after", [1, 2, 3, 4, 5])
def test_draws_of_a_training_go_on(cut_after):
    """Breaks when numbers that a loss draws besides torch's begin anew, or are the same in each step."""
    drawn: list[float] = []

    def drawing(epochs):
        training, draws = line_training(epochs), StepDraws()
        plain = training.loss

        def loss(network, batch):
            drawn.append(draws.generator.random())
            return plain(network, batch) * drawn[-1]

        training.loss, training.draws = loss, draws
        return training

    whole, memory = drawing(2), Memory(cut_after, save_minutes=0)
    train(whole, Memory())
    assert len(set(drawn)) == 2 * STEPS
    with pytest.raises(KeyboardInterrupt):
        train(drawing(2), memory)
    memory.cut_after = None
    resumed = drawing(2)
    train(resumed, memory)
    assert weights(resumed) == weights(whole)


@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_gradients_are_clipped_in_all_kinds_of_steps(clip_norm):
    """Breaks when a gradient reaches an optimizer unclipped, or each parameter is clipped by itself."""
    training = two_steps(1)
    training.clip_norm = clip_norm
    seen = [watched(training.optimizer), watched(training.further[0].optimizer)]
    train(training, Memory())
    for norms in seen:
        assert len(norms) == STEPS
        if clip_norm is None:
            assert max(norms) > 0.1
        else:
            assert norms == pytest.approx([0.01] * STEPS, rel=1e-3)


def watched(optimizer) -> list[float]:
    """The norms of the gradients at each step."""
    norms: list[float] = []

    def before(optimizer, *arguments):
        gradients = [
            p.grad.flatten() for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        norms.append(float(torch.cat(gradients).norm()))

    optimizer.register_step_pre_hook(before)
    return norms


def test_a_stop_signal_saves_at_the_next_step():
    """Breaks when a stop waits for the end of the interval, or for a long epoch's end."""
    stop = StopSignal()
    stop.request()
    context = InProcessTrainContext(LocalContext(Store("memory://stopped")), "state.pt", stop)
    with pytest.raises(Stopped):
        train(line_training(2), context)
    state = context.load()
    assert state is not None
    assert (state["running"]["steps"], state["log"]) == (1, [])


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
    state = checkpoint_of({"weight": torch.ones(2)})
    state["log"] = [[1, 0.5, 8, 0.1]]
    back = load_checkpoint(dump_checkpoint(copy.deepcopy(state)), "state.pt")
    assert back["log"] == state["log"]
    assert torch.equal(back["network"]["weight"], torch.ones(2))
    bad: Any = {**state, "bad": Path("a")}
    with pytest.raises(
        StageFailed, match=r"the checkpoint here/state.pt holds objects besides tensors and plain values: remove it"
    ):
        load_checkpoint(dump_checkpoint(bad), "here/state.pt")
