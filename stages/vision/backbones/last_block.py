"""Finds the last block of a network's features, and restricts training to it."""

from torch import nn

from stages.vision.backbones.networks import LocalizerNetwork

__all__ = ["freeze_below", "last_block", "quieten_frozen"]

_FEATURES = "features"
_WHOLE = 0.9
_WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
_ROWS = (nn.Sequential, nn.ModuleList)
_POOLS = (nn.MaxPool2d, nn.AvgPool2d)


def last_block(network: LocalizerNetwork) -> tuple[str, ...]:
    """Names of the modules that make up the last block of a network's features, in the order of their computation.

    The search runs over the features' children, which compute one after another. A block is a child with two or more
    layers of weights: a residual layer, a stage, a dense block, a transformer's block. A child that holds all blocks
    (timm's ``blocks``, ``stages``), nine tenths of the parameters, or stages that are themselves rows of blocks, is
    replaced by its own children. The last block is the last such child with all that follows it (a normalization, a
    1x1 convolution): ``layer4`` of ResNets, ``denseblock4`` and ``norm5`` of DenseNet, ``Mixed_7c`` of Inception, the
    last stage and the 1x1 convolution behind it of EfficientNets, the last block and the normalisation of vision
    transformers. In a plain chain of layers such as VGG it is the layers after the last pooling that has layers behind
    it: conv5_1 to conv5_3.
    """
    name, module = _FEATURES, network.features
    behind: list[str] = []
    while True:
        children = [(f"{name}.{own}", child) for own, child in module.named_children() if _size(child)]
        blocks = [number for number, (_, child) in enumerate(children) if _layers(child) > 1]
        if len(children) == 1 and blocks:
            name, module = children[0]
            continue
        if not blocks:
            own = _after_last_pooling(name, module) if children else [name]
            return (*own, *behind)
        last = blocks[-1]
        following = [found for found, _ in children[last + 1 :]]
        child = children[last][1]
        is_all = len(blocks) == 1 or _size(child) > _WHOLE * _size(module) or _has_stages(child)
        if not is_all or not _has_blocks(child):
            return (children[last][0], *following, *behind)
        behind = [*following, *behind]
        name, module = children[last]


def freeze_below(network: LocalizerNetwork) -> None:
    """Freeze the features below their last block; that block, the head and all between them stay trainable."""
    trained = tuple(f"{name}." for name in last_block(network))
    for name, parameter in network.named_parameters():
        if name.startswith(f"{_FEATURES}.") and not name.startswith(trained):
            parameter.requires_grad_(False)


def quieten_frozen(network: LocalizerNetwork) -> None:
    """Put the modules below the last block into eval mode: batch statistics stay fixed, and dropout is off.

    Call it each time after the whole network was put into training mode.
    """
    trained = last_block(network)
    for name, module in network.features.named_modules(prefix=_FEATURES):
        holds = any(f"{one}.".startswith(f"{name}.") for one in trained)
        inside = any(name.startswith(f"{one}.") for one in trained)
        if not holds and not inside:
            module.training = False


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _layers(module: nn.Module) -> int:
    """Number of linear and convolutional layers in a module."""
    return sum(isinstance(part, _WEIGHTED) for part in module.modules())


def _has_blocks(module: nn.Module) -> bool:
    """Whether a module is a sequence of blocks, rather than one block."""
    return isinstance(module, _ROWS) and any(_layers(child) > 1 for child in module.children())


def _has_stages(module: nn.Module) -> bool:
    """Whether a module is a sequence of sequences of blocks."""
    return isinstance(module, _ROWS) and any(_has_blocks(child) for child in module.children())


def _after_last_pooling(name: str, module: nn.Module) -> list[str]:
    """The layers with parameters after the last pooling that has any such layer behind it."""
    children = list(module.named_children())
    weighted = [number for number, (_, child) in enumerate(children) if _size(child)]
    pools = [number for number, (_, child) in enumerate(children) if isinstance(child, _POOLS)]
    start = max((number for number in pools if number < weighted[-1]), default=-1)
    return [f"{name}.{own}" for number, (own, _) in enumerate(children) if number > start and number in weighted]
