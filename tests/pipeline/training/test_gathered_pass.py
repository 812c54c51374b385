"""A pass on one rank; several are in tests/stages/classify/test_parts_on_ranks.py."""

import pytest
import torch

from pipeline.base.errors import Stopped
from pipeline.base.stop_signal import StopSignal
from pipeline.store.store import Store
from pipeline.training.gathered_pass import gathered_pass
from pipeline.training.in_process import InProcessTrainContext
from pipeline.worker.local_context import LocalContext

BATCHES = 5


class Results:
    """Computes ten times the number of each batch, two rows of it, and notes which were asked for."""

    def __init__(self, stop_after=None, stop=None):
        self.asked, self.computed = [], []
        self._stop_after, self._stop = stop_after, stop

    def __call__(self, numbers):
        self.asked = list(numbers)
        for number in numbers:
            self.computed.append(number)
            if number == self._stop_after:
                self._stop.request()
            yield torch.full((2, 3), 10.0 * number)


def context(tmp_path, stop=None):
    return InProcessTrainContext(LocalContext(Store(str(tmp_path))), "state.pt", stop)


def test_results_are_in_the_order_of_the_batches(tmp_path):
    """Breaks when a batch is lost, doubled or out of place."""
    found = gathered_pass(Results(), BATCHES, context(tmp_path))
    assert found is not None
    assert found[:, 1, 2].tolist() == [0, 10, 20, 30, 40]
    assert found.shape == (BATCHES, 2, 3)


@pytest.mark.parametrize("last", [0, 3, 4])
def test_a_stop_is_heard_and_the_pass_goes_on_where_it_was(tmp_path, last):
    """Breaks when a stop signal waits for the whole pass, or what was computed before it is computed again."""
    stop = StopSignal()
    first, second = Results(last, stop), Results()
    with pytest.raises(Stopped):
        gathered_pass(first, BATCHES, context(tmp_path, stop))
    assert first.computed == list(range(last + 1))
    found = gathered_pass(second, BATCHES, context(tmp_path))
    assert second.computed == list(range(last + 1, BATCHES))
    assert found is not None
    assert found[:, 0, 0].tolist() == [0, 10, 20, 30, 40]


def test_what_computing_raises_is_raised(tmp_path):
    """Breaks when an error of an image is swallowed, or becomes another one."""

    def broken(numbers):
        yield torch.zeros(1)
        raise ValueError("image 7: empty file")

    with pytest.raises(ValueError, match="^image 7: empty file$"):
        gathered_pass(broken, 2, context(tmp_path))
