"""Inspects a network of timm: the layout of its features, its layers, and how its classes are computed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import nn

from stages.vision.backbones.feature_form import FeatureForm
from stages.vision.backbones.libraries import TimmBody, timm_body, timm_published
from stages.vision.backbones.operations import operations_of
from stages.vision.backbones.tap_names import TapNames
from stages.vision.backbones.timm_features import Inside, TimmFeatures, passage_name
from stages.vision.backbones.vit import PatchTokens, has_class_token

__all__ = ["TimmStructure", "classifier_layer", "timm_structure"]

_CONTAINERS = ("blocks", "layers", "levels", "network", "stages")
"""Names of the lists of stages in networks of timm."""

_NORM, _PROJECTIONS = "norm1", ("qkv", "k_proj")
_LAST_BLOCK = (_NORM, "attn.qkv", "attn.k_proj")
"""Modules of a transformer's last block that are read, besides the output of the block."""

_MOST_PREFIX_TOKENS = 32
_BUILT_OF_BLOCKS = ("EfficientNet", "MobileNetV3")
"""timm's classes of EfficientNets and MobileNets."""


@dataclass(frozen=True)
class TimmStructure:
    """How a network of timm is read.

    form: of its features; channels: of their map. width: numbers that the classifier reads. is_exact: whether these are
    the spatial mean of the map, so that CAM is defined. inside, keys: as in `TimmFeatures`. tap_names: the layers that
    stages may read.
    """

    form: FeatureForm
    channels: int
    width: int
    is_exact: bool
    inside: Mapping[str, Inside]
    keys: str | None
    tap_names: TapNames


@lru_cache(maxsize=32)
def timm_structure(name: str, output_stride: int | None = None) -> TimmStructure:
    """The structure of a network, found by a forward pass on torch's meta device.

    Raises: ValueError for a network that gives no map of features, and as `timm_body`.
    """
    side = timm_published(name).input_size
    with torch.device("meta"), torch.inference_mode(False):
        body = timm_body(name, 0, output_stride).eval()
        images = torch.empty(2, 3, side, side)
    try:
        with torch.inference_mode(False):  # inference mode would hide operations
            outputs, features = _passed(body, images)
            form = _form(features, body, side)
            maps = form.to_map(features, images)
            pooled, operations = operations_of(partial(body.forward_head, features, pre_logits=True))
        if pooled.ndim != 2:
            raise ValueError(f"its classifier reads {tuple(pooled.shape[1:])}")
    except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"timm's {name} gives no map of features: {str(error).splitlines()[0]}") from error
    if output_stride is not None and maps.shape[2] != -(-side // output_stride):
        raise ValueError(f"timm's {name} has no output_stride {output_stride}")
    is_exact = operations.are_one_mean(maps.shape[2] * maps.shape[3]) and pooled.shape[1] == maps.shape[1]
    found = _layers(outputs, features, form, maps.shape[2])
    return TimmStructure(
        form,
        maps.shape[1],
        pooled.shape[1],
        is_exact,
        found.inside,
        found.keys,
        _tap_names(body, found, form, is_exact),
    )


@lru_cache(maxsize=32)
def classifier_layer(name: str) -> str:
    """Module path of the single linear layer that computes the published classes from the pooled features.

    Empty if the published weights have no classes, or compute them in another way, such as by two layers.
    """
    published = timm_published(name)
    if len(published.classifiers) != 1 or not published.classes:
        return ""
    (classifier,) = published.classifiers
    with torch.device("meta"), torch.inference_mode(False):
        body = timm_body(name, 7).eval()
        features = body.forward_features(torch.empty(2, 3, published.input_size, published.input_size))
        read, before = operations_of(partial(body.forward_head, features, pre_logits=True))
        _, whole = operations_of(partial(body.forward_head, features))
    whole.names = whole.names[len(before.names) :]
    return classifier if read.ndim == 2 and whole.are_one_linear_layer() else ""


class _Layers(NamedTuple):
    """The layers of a network that give maps, deepest first.

    direct: module paths in the body of layers whose outputs are maps. inside, keys: as in `TimmFeatures`. grids: tap ->
    side of its map. last: taps whose output is the features themselves.
    """

    direct: tuple[str, ...]
    inside: Mapping[str, Inside]
    keys: str | None
    grids: Mapping[str, int]
    last: frozenset[str]


def _passed(body: TimmBody, images: torch.Tensor) -> tuple[Mapping[str, torch.Tensor], torch.Tensor]:
    """The outputs of the candidate layers that run once, in the order of computation, and the features."""
    outputs: dict[str, list[object]] = {}
    modules = {name for name, _ in body.named_modules()}
    with ExitStack() as hooks, torch.no_grad():
        for path in modules.intersection([*_stages(body), *_of_last_block(body)]):
            hooks.callback(body.get_submodule(path).register_forward_hook(_note(outputs, path)).remove)
        features = body.forward_features(images)
    once = ((path, seen[0]) for path, seen in outputs.items() if len(seen) == 1)
    return {path: output for path, output in once if isinstance(output, torch.Tensor)}, features


def _note(outputs: dict[str, list[object]], path: str) -> Callable[[nn.Module, object, object], None]:
    return lambda _module, _inputs, output: outputs.setdefault(path, []).append(output)


def _stages(body: TimmBody) -> Iterator[str]:
    """Module paths of the stages in timm's feature_info, and of the other modules in the same lists."""
    info = getattr(body, "feature_info", [])
    for stage in getattr(info, "info", info):
        container = stage["module"].rpartition(".")[0]
        if container in _CONTAINERS:
            yield from (f"{container}.{name}" for name, _ in body.get_submodule(container).named_children())
        else:
            yield stage["module"]


def _of_last_block(body: TimmBody) -> Iterator[str]:
    """Module paths that a transformer's last block may have."""
    blocks = [name for name, _ in getattr(body, "blocks", nn.Module()).named_children()]
    yield from (f"blocks.{blocks[-1]}.{name}" for name in _LAST_BLOCK if blocks)


def _form(features: torch.Tensor, body: TimmBody, side: int) -> FeatureForm:
    """The layout of features. Raises: ValueError for features that are no map in any layout."""
    shape = tuple(features.shape)
    if len(shape) == 4 and getattr(body, "output_fmt", "") != "NHWC" and shape[2] == shape[3]:
        return FeatureForm("map")
    if len(shape) == 4 and shape[1] == shape[2]:
        return FeatureForm("channels_last")
    if len(shape) == 3:
        info = getattr(body, "feature_info", [])
        grid = -(-side // list(getattr(info, "info", info))[-1]["reduction"])
        if 0 <= shape[1] - grid**2 <= _MOST_PREFIX_TOKENS:
            return FeatureForm("tokens", shape[1] - grid**2)
    raise ValueError(f"{shape[1:]} for {side}x{side} pixels")


def _layers(outputs: Mapping[str, torch.Tensor], features: torch.Tensor, form: FeatureForm, grid: int) -> _Layers:
    """The layers whose outputs can be read as maps."""
    inside: dict[str, Inside] = {}
    grids: dict[str, int] = {}
    direct, keys, last = [], None, set()
    for path, output in reversed(list(outputs.items())):
        layout = _layout(output, form, grid)
        name = path.rpartition(".")[2]
        if name in _PROJECTIONS:
            keys = path if output.ndim == 3 and output.shape[1] == features.shape[1] else keys
        elif layout is not None:
            tap = name if name in _LAST_BLOCK else path
            grids[tap] = output.shape[1 if layout.kind == "channels_last" else 2] if output.ndim == 4 else grid
            last |= {tap} if output is features else set()
            if layout.kind == "map":
                direct.append(path)
            else:
                inside[tap] = Inside(path, layout)
    return _Layers(tuple(direct), inside, keys, grids, frozenset(last))


def _layout(output: torch.Tensor, form: FeatureForm, grid: int) -> FeatureForm | None:
    """The layout of a layer's output for square images; None if it is no map."""
    shape = tuple(output.shape)
    if len(shape) == 3 and form.kind == "tokens" and 0 <= shape[1] - grid**2 <= _MOST_PREFIX_TOKENS:
        return FeatureForm("tokens", shape[1] - grid**2)
    if len(shape) != 4:
        return None
    is_map, is_last = shape[2] == shape[3], shape[1] == shape[2]
    if is_map and not (is_last and form.kind == "channels_last"):
        return FeatureForm("map")
    return FeatureForm("channels_last") if is_last else None


def _tap_names(body: TimmBody, found: _Layers, form: FeatureForm, is_exact: bool) -> TapNames:
    """Names of the layers: stages by their module paths; token layers and repeats of the features are in `others`."""
    child = PatchTokens.child if has_class_token(body) and form.prefix else TimmFeatures.child
    paths = {path: f"features.{child}.{path}" for path in found.direct}
    paths |= {tap: f"features.passages.{passage_name(tap)}" for tap in found.inside}
    usual = [tap for tap in found.grids if tap not in {*found.last, _NORM} and not _has_tokens(found.inside.get(tap))]
    main = {"features": "features", **{tap: paths[tap] for tap in usual}}
    others = {tap: path for tap, path in paths.items() if tap not in main}
    if found.keys is not None:
        others["keys"] = "features.keys"
    if is_exact or not form.prefix:
        return TapNames(main, others, ("keys",), ddt=_before_last(body, found))
    known = [tap for tap in (_NORM, *usual, *others) if tap in paths]
    return TapNames(main, others, ("keys", "features"), gradient=known[0] if known else "")


def _has_tokens(layer: Inside | None) -> bool:
    return layer is not None and layer.form.kind == "tokens"


def _before_last(body: TimmBody, found: _Layers) -> str:
    """The last but one stage of an EfficientNet or MobileNet, if its grid is that of the last; empty otherwise.

    DDT on EfficientNet-Lite0's sixth stage gave better boxes than on its last layer: 65.4 against 59.9 % right on
    photographs of ten classes (standard error of the difference 2.3).
    """
    stages = len(getattr(body, "blocks", ()))
    last, before = f"blocks.{stages - 1}", f"blocks.{stages - 2}"
    same = before in found.grids and found.grids[before] == found.grids.get(last)
    return before if same and type(body).__name__ in _BUILT_OF_BLOCKS else ""
