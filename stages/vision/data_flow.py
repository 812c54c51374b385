"""Counts how often the tensors of a forward pass are read by its operations."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Convolved", "Reads", "convolved"]

_ORIGIN = "weakbox_origin"
"""The attribute that marks the output of a convolution; an id would be reused once the tensor is freed."""


@dataclass
class Convolved:
    """One pass through a convolution: its weight, and how often its output was read since."""

    weight: torch.Tensor
    reads: int = 0


class Reads(TorchDispatchMode):
    """Counts how often outputs of convolutions, and tensors that outlive the `with` block, are read inside of it."""

    def __init__(self) -> None:
        super().__init__()
        self._times: Counter[int] = Counter()

    def times(self, lasting: torch.Tensor) -> int:
        """How often a tensor that outlives the block, such as a parameter, was read."""
        return self._times[id(lasting)]

    def note(self, values: object) -> None:
        """Count one more read of each tensor in nested lists, tuples and mappings."""
        for tensor in _tensors(values):
            self._times[id(tensor)] += 1
            origin = convolved(tensor)
            if origin is not None:
                origin.reads += 1

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: otherwise torch imports its compiler at the first operation, which takes seconds."""
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run one operation; torch calls this."""
        self.note((args, kwargs))
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            weight = args[1]
            assert isinstance(weight, torch.Tensor), "as torch declares it"
            vars(made)[_ORIGIN] = Convolved(weight)
        return made


def convolved(tensor: torch.Tensor) -> Convolved | None:
    """The convolution that computed a tensor of any shape; None for other tensors."""
    origin: Convolved | None = vars(tensor).get(_ORIGIN)
    return origin


def _tensors(values: object) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, Mapping):
        yield from _tensors(list(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
