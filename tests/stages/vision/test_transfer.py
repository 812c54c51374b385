import pytest
import torch

from stages.vision.transfer import HostCopy, one_behind, to_device


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_every_result_comes_once_in_order_after_the_next_launch(count):
    """Breaks when the last batch is lost, or a result is waited for before the next batch is on its way."""
    launched = []

    def launch(item):
        launched.append(item)
        return item * 10

    seen = []
    for result in one_behind(range(count), launch):
        seen.append(result)
        assert len(launched) == min(count, len(seen) + 1)
    assert seen == [10 * item for item in range(count)]


def test_an_error_in_a_launch_passes():
    """Breaks when a batch that runs out of memory is swallowed."""
    with pytest.raises(MemoryError):
        list(one_behind([1, 0], lambda item: item if item else (_ for _ in ()).throw(MemoryError)))


def test_on_the_cpu_nothing_is_copied():
    """Breaks when results of the CPU are copied for nothing."""
    values = torch.arange(6.0)
    assert HostCopy(values).wait() is values
    array = values.numpy()
    assert to_device(array, "cpu").data_ptr() == array.ctypes.data


@pytest.mark.gpu
def test_a_copy_from_a_gpu_waits_for_its_values():
    """Breaks when host memory is read before the GPU has written it."""
    values = torch.randn(4096, 4096, device="cuda")
    for _ in range(20):
        values = values @ values / values.norm()
    copy = HostCopy(values)
    torch.testing.assert_close(copy.wait(), values.cpu())
    assert to_device(values.cpu().numpy(), "cuda").is_cuda
