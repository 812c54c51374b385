"""Dilated depthwise convolutions whose gradients are quick to compute on a CPU.

Networks with a stride taken out have them. oneDNN, which computes torch's convolutions on a CPU, is quick forwards, but
not backwards: there it takes some ten times as long. Yet both gradients are depthwise convolutions themselves: that of
the input convolves the output's gradient with the turned kernel, that of a kernel convolves each image's channel with
the output's gradient as a kernel. Stride and dilation change places in the second.
"""

from typing import Protocol

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from stages.vision.memory_format import Network

__all__ = ["DilatedDepthwiseConv2d", "quick_gradients"]


class DilatedDepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution of stride 1, padded alike on both sides, with the parameters of another one."""

    def __init__(self, conv: nn.Conv2d) -> None:
        names = "in_channels", "out_channels", "kernel_size", "padding", "dilation", "groups"
        super().__init__(**{name: getattr(conv, name) for name in names}, device="meta")
        self.weight, self.bias = conv.weight, conv.bias

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        on_cpu = input.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        if on_cpu and input.dtype == weight.dtype == torch.float32 and torch.is_grad_enabled():
            maps: torch.Tensor = _Convolution.apply(input, weight, self.padding, self.dilation)
            return maps if bias is None else maps + bias[:, None, None]
        return super()._conv_forward(input, weight, bias)


class _Context(Protocol):
    """What torch hands from `forward` to `backward`."""

    saved_tensors: tuple[torch.Tensor, ...]
    needs_input_grad: tuple[bool, ...]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    def save_for_backward(self, *tensors: torch.Tensor) -> None: ...


class _Convolution(torch.autograd.Function):
    """``(B, C, h, w)`` and kernels ``(C, 1, k, l)`` -> ``(B, C, h', w')``, each channel with its kernel."""

    @staticmethod
    def forward(
        ctx: _Context, maps: torch.Tensor, kernels: torch.Tensor, padding: tuple[int, int], dilation: tuple[int, int]
    ) -> torch.Tensor:
        ctx.save_for_backward(maps, kernels)
        ctx.padding, ctx.dilation = padding, dilation
        return torch.conv2d(maps, kernels, None, 1, padding, dilation, len(kernels))

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        maps, kernels = ctx.saved_tensors
        images, channels, rows, columns = gradient.shape
        of_maps = of_kernels = None
        if ctx.needs_input_grad[0]:
            reach = _reach(kernels, ctx.dilation)
            padding = [most - edge for most, edge in zip(reach, ctx.padding, strict=True)]
            of_maps = torch.conv2d(gradient, kernels.flip(2, 3), None, 1, padding, ctx.dilation, channels)
        if ctx.needs_input_grad[1]:
            every = images * channels
            planes = maps.reshape(1, every, *maps.shape[2:])
            windows = gradient.reshape(every, 1, rows, columns)
            found = torch.conv2d(planes, windows, None, ctx.dilation, ctx.padding, 1, every)
            of_kernels = found.reshape(images, *kernels.shape).sum(0)
        return of_maps, of_kernels, None, None


def quick_gradients(network: Network) -> Network:
    """Replace each dilated depthwise convolution by a `DilatedDepthwiseConv2d`.

    The network is changed and returned; module paths, parameters and outputs stay.
    """
    for path, module in list(network.named_modules()):
        if type(module) is nn.Conv2d and _is_dilated_depthwise(module):
            parent, _, name = path.rpartition(".")
            setattr(network.get_submodule(parent), name, DilatedDepthwiseConv2d(module))
    return network


def _is_dilated_depthwise(conv: nn.Conv2d) -> bool:
    depthwise = conv.groups == conv.in_channels == conv.out_channels > 1
    if not depthwise or conv.padding_mode != "zeros" or max(conv.stride) > 1 or max(conv.dilation) == 1:
        return False
    edges = () if isinstance(conv.padding, str) else conv.padding
    return bool(edges) and all(
        edge <= most for edge, most in zip(edges, _reach(conv.weight, conv.dilation), strict=True)
    )


def _reach(kernels: torch.Tensor, dilation: tuple[int, ...]) -> list[int]:
    """Rows and columns between the first and the last tap of a kernel."""
    return [step * (side - 1) for step, side in zip(dilation, kernels.shape[2:], strict=True)]
