"""Records the operations by which a network computes one tensor from another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Operations", "operations_of"]

_VIEWS = frozenset(
    f"aten::{name}"
    for name in (
        "_reshape_alias", "_unsafe_view", "alias", "clone", "detach", "expand", "permute", "reshape", "slice",
        "squeeze", "transpose", "t", "unsqueeze", "view",
    )
)  # fmt: skip
"""Operations that rearrange, copy or select values, but compute none."""

_MEANS = frozenset(
    {"aten::mean", "aten::adaptive_avg_pool2d", "aten::_adaptive_avg_pool2d", "aten::adaptive_avg_pool1d"}
)
_LINEAR = frozenset({"aten::addmm", "aten::mm", "aten::linear", "aten::convolution"})


@dataclass
class Operations:
    """The operations of a computation, in order, without those that compute nothing.

    names: torch's names, such as ``aten::mean``. spans: for each mean, how many numbers it averages.
    """

    names: list[str] = field(default_factory=list)
    spans: list[float] = field(default_factory=list)

    def are_one_mean(self, numbers: int) -> bool:
        """Whether the computation is a single mean over `numbers` numbers."""
        return len(self.names) == 1 and self.names[0] in _MEANS and self.spans == [numbers]

    def are_one_linear_layer(self) -> bool:
        """Whether the computation is a single linear layer or convolution."""
        return len(self.names) == 1 and self.names[0] in _LINEAR


def operations_of(computed: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Operations]:
    """Call `computed`; returns its tensor, of any shape, and the operations of the call."""
    with _Recorder() as recorder, torch.no_grad():
        return computed(), recorder.seen


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Operations()

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: tuple = (), kwargs: Mapping[str, object] | None = None
    ) -> torch.Tensor:
        found: torch.Tensor = func(*args, **(kwargs or {}))
        name = func.name().partition(".")[0]
        if name not in _VIEWS:
            self.seen.names.append(name)
            if name in _MEANS:
                self.seen.spans.append(args[0].numel() / found.numel())
        return found
