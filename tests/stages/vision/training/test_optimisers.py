import pytest
import torch

from stages.vision.backbones.build import build
from stages.vision.backbones.networks import conv_head
from stages.vision.training.optimisers import groups_of_four, schedule, sgd
from stages.vision.training.parameters import SCHEDULES, Rates


def rates(name: str, steps: int, drops: tuple[float, ...] = ()) -> list[float]:
    optimizer = sgd([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.5, "weight_decay": 0.0}])
    scheduler = schedule(name, optimizer, steps, drops)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 9, 40])
def test_every_schedule_lasts_as_long_as_the_training(name, steps):
    """Breaks when a short training divides by zero, or a rate leaves 0 to the peak."""
    found = rates(name, steps)
    assert len(found) == steps
    assert all(0 <= rate <= 0.5 + 1e-12 for rate in found)


def test_one_cycle_rises_for_a_fifth_and_ends_at_almost_nothing():
    """Breaks when the shape of the default schedule changes: trained models would, too."""
    found = rates("one_cycle", 100)
    assert found[0] == pytest.approx(0.05)
    assert max(found) == pytest.approx(0.5, rel=1e-3)
    assert 17 <= found.index(max(found)) <= 21
    assert found[-1] < 0.002


def test_steps_fall_to_a_tenth_at_each_drop():
    """Breaks when drops are counted in epochs, divide by anything but ten, or come a step early or late."""
    found = rates("steps", 20, (0.5, 0.75))
    assert found == pytest.approx([0.5] * 10 + [0.05] * 5 + [0.005] * 5)
    assert rates("steps", 3) == [0.5] * 3
    assert rates("steps", 2, (0.1,)) == pytest.approx([0.5, 0.05]), "never before the first step"


@pytest.mark.parametrize("drop", [0.0, 1.0, 30.0])
def test_a_drop_outside_the_training_is_refused(drop):
    """Breaks when an epoch's number is taken for a fraction, and the rate never falls."""
    with pytest.raises(ValueError, match="drops must lie between 0 and 1"):
        rates("steps", 10, (drop,))


@pytest.mark.parametrize("everything", [False, True])
def test_the_four_rates_and_what_decays(everything):
    """Breaks when a parameter is in no group or two, or a bias trains at the weights' rate or decays unasked."""
    network = build("smallnet", 3)
    network.head = conv_head(64, 64)
    chosen = Rates(0.01, head=10.0, biases=2.0, decay=0.1, decay_biases=everything)
    found = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in groups_of_four(*network.trained_parameters(), chosen)
        for parameter in group["params"]
    }
    assert len(found) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        rate = 0.01 * (10 if name.startswith(("head.", "classifier.")) else 1) * (2 if name.endswith("bias") else 1)
        decay = 0.1 if everything or parameter.ndim > 1 else 0.0
        assert found[id(parameter)] == pytest.approx((rate, decay)), name


def test_published_factors():
    """Breaks when the rates are not 1, 2, 10 and 20 times the first, as I2C and SPA were trained."""
    network = build("smallnet", 3)
    found = groups_of_four(*network.trained_parameters(), Rates(1.0, head=10.0, biases=2.0))
    assert {group["lr"] for group in found} == {1.0, 2.0, 10.0, 20.0}
