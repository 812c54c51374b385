"""The table of backbones: what can be built by name, for which input size, and where its descriptors are read.

It imports no library: planning a run looks names up here, and :mod:`stages.vision.backbones.build` builds them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from stages.vision.backbones.layouts import Layout
from stages.vision.backbones.tap_names import TapNames, unknown

__all__ = [
    "BACKBONES",
    "STRIDES",
    "Backbone",
    "CamKind",
    "Option",
    "backbone",
    "backbone_name",
    "input_size",
    "tap_path",
]

CamKind = Literal["exact", "gradient", "features"]
"""exact: classes are average pooling and one linear layer, so CAM is defined. gradient: other layers stand between.
features: published weights have no classes."""

STRIDES = (8, 16, 32)
"""Output strides that can be asked for: pixels of the input for one cell of the last map."""

Option = int | str | tuple[int, ...] | tuple[str, ...]
"""Types of a builder's options."""

_OURS = Layout()
_TIMM, _AT = "timm:", "@"
_OF_TIMM = "timm_networks.timm_network"


@dataclass(frozen=True)
class Backbone:
    """One entry of the table.

    builder: ``module.function`` of this package: number of classes, and `options` -> network with fresh weights.
    input_size: side in pixels of the square that the paper's setting feeds the network; None: `input_size` asks timm.
    taps: name of a layer in the literature -> module path inside the network; the first is the default. Empty for
    networks of timm by name, whose layers are found when they are built (`LocalizerNetwork.tap_names`).
    layout: rules that translate the tensor names in published weights.
    cam: how class maps are made of the published network; None: known only once the network is built.
    others, off, ddt_tap, gradient_tap, scg_taps: see `TapNames`.
    rescales: whether the network itself undoes ImageNet's normalization, so that its input must always have it.
    version: rises when the same name builds another network, so that trainings of the old one are not reused.
    """

    name: str
    builder: str
    input_size: int | None
    taps: Mapping[str, str]
    layout: Layout = _OURS
    version: int = 1
    cam: CamKind | None = "exact"
    others: Mapping[str, str] = field(default_factory=dict)
    off: Collection[str] = ()
    ddt_tap: str = ""
    gradient_tap: str = ""
    scg_taps: tuple[str, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)
    rescales: bool = False

    @property
    def tap_names(self) -> TapNames:
        """The layers that stages may read."""
        return TapNames(self.taps, self.others, self.off, self.ddt_tap, self.gradient_tap, self.scg_taps)


def _taps(**places: str) -> Mapping[str, str]:
    return MappingProxyType({tap: f"features.{place}" if place else "features" for tap, place in places.items()})


_LAYER3 = _taps(layer3="layer3", layer2="layer2", layer1="layer1")
_LAYER4 = _taps(layer4="layer4", layer3="layer3", layer2="layer2")
_VGG_CONV = {"relu5_3": "29", "relu5_2": "27", "relu4_3": "22", "pool4": "23"}
_VGG = _taps(pool5="30", **_VGG_CONV)
_VGG_D1 = _taps(features="", pool5="30", **_VGG_CONV)
_SCG_VGG = ("pool4", "relu5_3")
_MOBILENET = _taps(features="", block13="13")
_MIXED_6 = {"mixed_6e": "Mixed_6e", "mixed_5d": "Mixed_5d"}
_DENSENET = _taps(features="", denseblock4="denseblock4", transition3="transition3", denseblock3="denseblock3")
_EFFICIENTNET = _taps(features="", stage7="7", stage6="6", stage5="5", stage4="4")
_PATCHES = _taps(features="")
_LITE = MappingProxyType(
    {"features": "features", **{f"blocks.{stage}": f"features.body.blocks.{stage}" for stage in range(6, -1, -1)}}
)
_INSIDE = _taps(keys="keys", norm1="passages.norm1")

_FC = Layout(renames=((r"^fc\.", "classifier."),))
_CLASSIFIER_1 = Layout(renames=((r"^classifier\.1\.", "classifier."),))
_VGG_FULL = Layout(
    renames=(
        (r"^(?:classifier\.0|pre_logits\.fc1)\.", "fc.fc6."),
        (r"^(?:classifier\.3|pre_logits\.fc2)\.", "fc.fc7."),
        (r"^(?:classifier\.6|head\.fc)\.", "classifier."),
    )
)
_VGG_CONVOLUTIONS = Layout(
    renames=((r"^conv6\.", "head.conv6."), (r"^fc\.(?=weight|bias)", "classifier.")),  # those of wsolevaluation
    unused=("classifier.0.", "classifier.3.", "classifier.6.", "pre_logits."),
)
_INCEPTION = Layout(renames=((r"^fc\.", "classifier."), (r"^AuxLogits\.", "auxiliary.")))
_TO_MIXED_6E = Layout(unused=("Mixed_7", "AuxLogits.", "auxiliary."))
_DENSE = Layout(renames=((r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2"),))  # as in files of 2017
_VIT = Layout(
    renames=(
        (r"^(?=cls_token$|reg_token$|pos_embed$|patch_embed\.|norm_pre\.|blocks\.|norm\.)", "features.transformer."),
        (r"^head\.(?=weight|bias)", "classifier."),
    )
)

BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Backbone("smallnet", "smallnet.SmallNet", 64, _LAYER3, options={"width": 16}),
            Backbone("smallnet_wide", "smallnet.SmallNet", 64, _LAYER3, options={"width": 48, "blocks": (1, 2, 2)}),
            Backbone("mobilenet_v2", "convnets.mobilenet_v2", 224, _MOBILENET, _CLASSIFIER_1),
            Backbone(
                "mobilenet_v2_s8",
                "convnets.mobilenet_v2",
                224,
                _MOBILENET,
                _CLASSIFIER_1,
                options={"stride_1": (7, 14)},
            ),
            Backbone("vgg16", "vgg.vgg16", 224, _VGG, _VGG_FULL, version=2, cam="gradient", scg_taps=_SCG_VGG),
            Backbone("vgg16_gap", "vgg.vgg16_gap", 224, _VGG, _VGG_CONVOLUTIONS, scg_taps=_SCG_VGG),
            Backbone("vgg16_cam", "vgg.vgg16_cam", 224, _taps(**_VGG_CONV), _VGG_CONVOLUTIONS, scg_taps=_SCG_VGG),
            Backbone("vgg16_acol", "vgg.vgg16_acol", 224, _taps(**_VGG_CONV), _VGG_CONVOLUTIONS, scg_taps=_SCG_VGG),
            Backbone("vgg16_acol28", "vgg.vgg16_acol28", 224, _VGG_D1, _VGG_CONVOLUTIONS, scg_taps=_SCG_VGG),
            Backbone("resnet50", "resnet.resnet50", 224, _LAYER4, _FC),
            Backbone("resnet50_s16", "resnet.resnet50", 224, _LAYER4, _FC, options={"stride_1": ("layer4",)}),
            Backbone("resnet50_s8", "resnet.resnet50", 224, _LAYER4, _FC, options={"stride_1": ("layer3", "layer4")}),
            Backbone(
                "resnet50_acol28",
                "resnet.resnet50_acol",
                224,
                _LAYER4,
                Layout(unused=("fc.",)),
                options={"stride_1": ("layer3", "layer4")},
            ),
            Backbone("seresnet50", "resnet.seresnet50", 224, _LAYER4, _FC),
            Backbone(
                "inception_v3",
                "inception.inception_v3",
                299,
                _taps(mixed_7c="Mixed_7c", **_MIXED_6),
                _INCEPTION,
                rescales=True,
            ),
            Backbone(
                "inception_v3_spg",
                "inception.inception_v3_spg",
                224,
                _taps(**_MIXED_6),
                _TO_MIXED_6E,
                scg_taps=("mixed_5d", "mixed_6e"),
                rescales=True,
            ),
            Backbone("densenet161", "convnets.densenet161", 224, _DENSENET, _DENSE),
            Backbone("efficientnet_b7", "convnets.efficientnet_b7", 600, _EFFICIENTNET, _CLASSIFIER_1),
            Backbone(
                "efficientnet_lite0",
                _OF_TIMM,
                224,
                _LITE,
                ddt_tap="blocks.5",  # right boxes by DDT on ten classes: 65.4 %; last layer: 59.9 %
                options={"name": "tf_efficientnet_lite0"},
            ),
            Backbone(
                "vit_s16",
                "vit.vit_s16",
                224,
                _PATCHES,
                _VIT,
                cam="gradient",
                others=_INSIDE,
                off=("keys", "features"),
                gradient_tap="norm1",
            ),
            Backbone("vit_s16_gap", "vit.vit_s16_gap", 224, _PATCHES, _VIT, others=_INSIDE, off=("keys",)),
            Backbone("vit_tiny_p8", "vit.vit_tiny_p8", 64, _PATCHES, _VIT, others=_INSIDE, off=("keys",)),
        )
    }
)


def backbone(name: str) -> Backbone:
    """Look a backbone up.

    ``timm:<name>`` is any network of timm; its name is checked when it is built. ``<name>@16`` is a network of timm
    with output stride 16: one cell of its last map for 16 pixels of the input, see `backbone_name`.

    Raises: ValueError for an unknown name, with the nearest known one.
    """
    plain, at, stride = name.partition(_AT)
    if plain.startswith(_TIMM):
        options: Mapping[str, Option] = {"name": plain.removeprefix(_TIMM)}
        entry = Backbone(plain, _OF_TIMM, None, {}, version=2, cam=None, options=options)
    elif plain in BACKBONES:
        entry = BACKBONES[plain]
    else:
        raise ValueError(unknown("backbone", plain, BACKBONES))
    if not at:
        return entry
    if entry.builder != _OF_TIMM or stride not in map(str, STRIDES):
        raise ValueError(f"unknown backbone {name!r}: @8, @16 and @32 are for networks of timm")
    return replace(entry, name=name, options={**entry.options, "output_stride": int(stride)})


def backbone_name(name: str, output_stride: int | None) -> str:
    """The name of the variant of a backbone whose last map has one cell for `output_stride` pixels of the input.

    Raises: ValueError for an unknown backbone, one without such a variant, and a stride other than 8, 16 or 32.
    """
    entry = backbone(name)
    if output_stride is None:
        return name
    if output_stride not in STRIDES:
        raise ValueError(f"output_stride must be one of {', '.join(map(str, STRIDES))}, not {output_stride}")
    if entry.builder == _OF_TIMM and _AT not in name:
        return f"{name}{_AT}{output_stride}"
    if (variant := f"{name}_s{output_stride}") in BACKBONES:
        return variant
    raise ValueError(f"{name} has no variant of output_stride {output_stride}: leave it out, or use a network of timm")


def input_size(name: str) -> int:
    """A backbone's own input size, pixels. Raises ValueError for an unknown name, ModuleNotFoundError without timm."""
    size = backbone(name).input_size
    if size is not None:
        return size
    from stages.vision.backbones.libraries import timm_input_size  # timm brings torch along

    return timm_input_size(name.partition(_AT)[0].removeprefix(_TIMM))


def tap_path(name: str, tap: str | None = None) -> str:
    """Module path of a tap (None: the default) of a backbone of the table.

    Raises: ValueError for an unknown tap, naming the nearest.
    """
    names = backbone(name).tap_names
    return names.path(names.default if tap is None else tap, name)
