"""A training step of EfficientNet-Lite0 without its last stride on a CPU: gradients of ours against those of torch.

Both arms are the same network in channels_last, of the same weights; in one the dilated depthwise convolutions are
torch's own. One thread, float32, 16 images of 224 pixels; processor seconds of forward, backward and SGD.
"""

import time
from collections.abc import Callable, Iterator

import torch
from torch import nn

from benchmarks.figures import Measured
from benchmarks.pairs import REPEATS, interleaved
from pipeline.worker.device import keep_freed_memory
from stages.vision.backbones.build import build
from stages.vision.backbones.dilated_depthwise import DilatedDepthwiseConv2d
from stages.vision.memory_format import channels_last

IMAGES, SIZE = 16, 224
BACKBONE = "efficientnet_lite0@16"


def dilated_step(repeats: int = REPEATS) -> Iterator[Measured]:
    """Seconds of a step, over those of torch's own convolutions."""
    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours, theirs = _step(build(BACKBONE, 2)), _step(_own_convolutions(build(BACKBONE, 2)))
        ours(), theirs()
        pairs = interleaved(ours, theirs, repeats)
    finally:
        torch.set_num_threads(threads)
    fast, slow = (1e3 * seconds / IMAGES for seconds in pairs.medians)
    note = f"{BACKBONE} at {SIZE}: {fast:.0f} ms an image and core, with torch's own gradients {slow:.0f}"
    yield Measured("dilated_step_to_torch", pairs.ratio, repeats, slow, note, "ratio")


def _step(network: nn.Module) -> Callable[[], float]:
    network = channels_last(network.train(), "cpu")
    images = torch.randn(IMAGES, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(IMAGES) % 2
    optimizer = torch.optim.SGD(network.parameters(), 0.001, momentum=0.9)

    def step() -> float:
        before = time.process_time()
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        return time.process_time() - before

    return step


def _own_convolutions(network: nn.Module) -> nn.Module:
    """The network with torch's own class in the place of ours; parameters stay."""
    names = "in_channels", "out_channels", "kernel_size", "padding", "dilation", "groups"
    for path, module in list(network.named_modules()):
        if isinstance(module, DilatedDepthwiseConv2d):
            own = nn.Conv2d(**{name: getattr(module, name) for name in names})
            own.weight, own.bias = module.weight, module.bias
            parent, _, name = path.rpartition(".")
            setattr(network.get_submodule(parent), name, own)
    return network
