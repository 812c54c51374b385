"""Captures a layer's output during forward passes, without lasting changes to the network."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["Tap", "tapped"]


class Tap:
    """The output of a layer in the last forward pass."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._output: torch.Tensor | None = None

    @property
    def output(self) -> torch.Tensor:
        """The layer's output, ``(B, d, h, w)``; raises RuntimeError before the first forward pass."""
        if self._output is None:
            raise RuntimeError(f"nothing has passed through {self.path!r} yet")
        return self._output

    def _store(self, _module: nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        self._output = output


@contextmanager
def tapped(network: nn.Module, path: str) -> Iterator[Tap]:
    """Capture the output of the module at ``path`` (as in ``get_submodule``) during forward passes in the block.

    Inside of the block, in-place activations are switched to copies: the one after a tapped convolution would
    otherwise overwrite the captured output. Hook and switches are undone at the end, also after an exception.

    Raises: ValueError when the network has no such module.
    """
    try:
        module = network.get_submodule(path)
    except AttributeError as error:
        raise ValueError(f"the network has no module {path!r}") from error
    in_place = [m for m in network.modules() if getattr(m, "inplace", False) is True]
    tap = Tap(path)
    handle = module.register_forward_hook(tap._store)
    _set_in_place(in_place, False)
    try:
        yield tap
    finally:
        _set_in_place(in_place, True)
        handle.remove()


def _set_in_place(modules: list[nn.Module], value: bool) -> None:
    for module in modules:
        module.inplace = value  # type: ignore[assignment]
