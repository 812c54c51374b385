"""Describes a network at one input size, without weights or images: its layers, CAM and output strides."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from stages.vision.backbones.meta import meta_images, meta_network
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.published import published
from stages.vision.backbones.registry import STRIDES, CamKind, backbone, backbone_name, input_size
from stages.vision.backbones.timm_structure import classifier_layer, timm_structure
from stages.vision.backbones.weight_names import LITE0, SCRATCH, TIMM
from stages.vision.features import read_taps
from stages.vision.preprocessing import Preprocessing

__all__ = ["Described", "TapShape", "described"]


@dataclass(frozen=True)
class TapShape:
    """A layer that stages may read. stride: pixels of the input for one cell of its map, along its height.

    default_of: the stages (ddt, gradcam) that read it by default. gradient: whether the classes depend on it.
    """

    tap: str
    height: int
    width: int
    channels: int
    stride: float
    default_of: tuple[str, ...]
    gradient: bool


@dataclass(frozen=True)
class Described:
    """A network at a size.

    cam: how maps of its published classes are made; `features`: it has no published classes. trained_cam: how maps of
    classes that a run trains are made. output_strides: values of `classify.output_stride` besides the network's own.
    preprocessing: of the images that its published weights were trained on.
    """

    name: str
    input_size: int
    cam: CamKind
    trained_cam: CamKind
    output_strides: tuple[int, ...]
    preprocessing: Preprocessing
    taps: tuple[TapShape, ...]


def described(name: str, size: int | None = None) -> Described:
    """Describe a backbone. size: side of its input, pixels; None: its own.

    Raises: ValueError for an unknown network or a size that it does not take; ModuleNotFoundError without its library.
    """
    side = size or input_size(name)
    network = meta_network(name, 2, side)
    taps = tuple(_taps(network, side))
    trained: CamKind = "exact" if network.has_cam else "gradient"
    cam = "features" if _has_no_classes(name) else trained
    source = _source(name)
    strides = tuple(stride for stride in STRIDES if stride < taps[0].stride and _can_have(name, stride))
    return Described(name, side, cam, trained, strides, published(source, name).preprocessing, taps)


def _taps(network: LocalizerNetwork, side: int) -> Iterator[TapShape]:
    names = network.tap_names
    with torch.inference_mode(), torch.device("meta"):
        outputs = read_taps(network, list(names.paths), meta_images(side))
    defaults = {"ddt": names.ddt_default, "gradcam": names.gradient_default}
    for tap, output in zip(names.paths, outputs, strict=True):
        channels, height, width = output.shape[1:]
        default_of = tuple(kind for kind, default in defaults.items() if default == tap)
        yield TapShape(tap, height, width, channels, round(side / height, 1), default_of, tap not in names.off)


def _has_no_classes(name: str) -> bool:
    """Whether the published weights have no classifier, or one that is not a single linear layer."""
    plain = _plain(name)
    return plain.startswith(TIMM) and not classifier_layer(plain.removeprefix(TIMM))


def _source(name: str) -> str:
    """The weights that are published for a network under its own name."""
    plain = _plain(name)
    if plain.startswith(TIMM):
        return plain
    return LITE0 if LITE0.endswith(f":{plain}") else SCRATCH


def _plain(name: str) -> str:
    return name.partition("@")[0]


def _can_have(name: str, stride: int) -> bool:
    """Whether a backbone can be built with an output stride."""
    try:
        said = backbone(backbone_name(name, stride)).options
        if "output_stride" in said:
            timm_structure(str(said["name"]), stride)
    except ValueError:
        return False
    return True
