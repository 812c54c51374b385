"""Translates layer names of the package efficientnet_pytorch and its derivatives to ours."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

__all__ = ["MARK", "efficientnet_names"]

MARK = "_conv_stem.weight"
"""A tensor name that only files of these packages contain."""

_OF_TIMM = re.compile(r"features\.body\.blocks\.(\d+)\.(\d+)\.(.+)\.\w+")
_OF_TORCHVISION = re.compile(r"features\.(\d+)\.(\d+)\.block\.(.+)\.\w+")

_OUTSIDE = {
    "_conv_stem": ("features.body.conv_stem", "features.0.0"),
    "_bn0": ("features.body.bn1", "features.0.1"),
    "_conv_head": ("features.body.conv_head", "features.8.0"),
    "_bn1": ("features.body.bn2", "features.8.1"),
    "_fc": ("classifier", "classifier"),
}
"""Layers outside of the blocks, and their names in timm's and in torchvision's networks."""

_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2", **_SQUEEZE}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
    **_SQUEEZE,
}
"""Layers of timm's blocks: without and with an expansion."""


def efficientnet_names(own: Collection[str]) -> Mapping[str, str]:
    """Map names of efficientnet_pytorch to the given names `own` of an EfficientNet of timm or torchvision.

    efficientnet_pytorch numbers blocks through all stages: ``_blocks.3`` is the first block of the third stage if the
    stages before have one and two. For any other network the result is meaningless.
    """
    layers = dict(_layers(own))
    named = ((layers.get(name.rpartition(".")[0]), name) for name in own)
    return {f"{theirs}.{name.rpartition('.')[2]}": name for theirs, name in named if theirs is not None}


def _layers(own: Collection[str]) -> Iterator[tuple[str, str]]:
    """Pairs of our name and their name of each layer."""
    blocks: dict[tuple[int, int], dict[str, str]] = defaultdict(dict)
    for name in own:
        if found := _OF_TIMM.fullmatch(name) or _OF_TORCHVISION.fullmatch(name):
            blocks[int(found[1]), int(found[2])][found[3]] = name.rpartition(".")[0]
    for number, place in enumerate(sorted(blocks)):
        inside = blocks[place]
        known = _of_timm(inside) if "conv_dw" in inside else _of_torchvision(inside)
        yield from ((inside[ours], f"_blocks.{number}.{theirs}") for theirs, ours in known.items() if ours in inside)
    yield from ((ours, theirs) for theirs, places in _OUTSIDE.items() for ours in places)


def _of_timm(inside: Collection[str]) -> Mapping[str, str]:
    return _EXPANDED if "conv_pwl" in inside else _SEPARABLE


def _of_torchvision(inside: Collection[str]) -> Mapping[str, str]:
    """The layers of torchvision's blocks, by their numbers; an expansion, if there is one, comes first."""
    last = max(int(layer.partition(".")[0]) for layer in inside)
    expansion = {"_expand_conv": "0.0", "_bn0": "0.1"} if last == 3 else {}
    return expansion | {
        "_depthwise_conv": f"{last - 2}.0",
        "_bn1": f"{last - 2}.1",
        "_se_reduce": f"{last - 1}.fc1",
        "_se_expand": f"{last - 1}.fc2",
        "_project_conv": f"{last}.0",
        "_bn2": f"{last}.1",
    }
