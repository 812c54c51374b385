"""The safetensors library itself is the oracle."""

import pytest
import safetensors.torch
import torch
from safetensors.torch import load, save

TENSORS = {
    "b.weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.contiguous_format),
    "a.count": torch.tensor(7),
    "half": torch.arange(5).half(),
    "brain": torch.arange(3).bfloat16(),
    "flags": torch.tensor([True, False, True]),
    "none": torch.zeros(0, 2),
    "double": torch.tensor([[0.1]], dtype=torch.float64),
}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a)


def test_the_library_reads_what_we_write():
    """Breaks when a header, an offset or a type name is not what other programs expect."""
    assert same(safetensors.torch.load(save(TENSORS)), TENSORS)


def test_we_read_what_the_library_writes():
    """Breaks when a file of another program cannot be loaded: its metadata, its order, its padding."""
    assert same(load(safetensors.torch.save(TENSORS, metadata={"format": "pt"})), TENSORS)


def test_order_and_memory_layout_do_not_matter():
    """Breaks when the same weights get another checksum because a model was built or laid out differently."""
    image = torch.randn(2, 3, 4, 5)
    turned = image.to(memory_format=torch.channels_last)
    assert save({"a": image, "b": TENSORS["half"]}) == save({"b": TENSORS["half"], "a": turned})


@pytest.mark.parametrize("data", [b"", b"short", save(TENSORS)[:40], save(TENSORS)[:-8], b"\x02" + b"\0" * 7 + b"[]"])
def test_damaged_bytes_are_a_value_error(data):
    """Breaks when a cut file loads as wrong weights or raises something that nobody expects."""
    with pytest.raises(ValueError):
        load(data)
