import pytest
import torch

from stages.vision.optimisers import SCHEDULES, schedule, sgd


def rates(name: str, steps: int) -> list[float]:
    optimizer = sgd([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.5, "weight_decay": 0.0}])
    scheduler = schedule(name, optimizer, steps)
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
