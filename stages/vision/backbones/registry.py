"""The table of backbones: what can be built by name, for which input size, and where its descriptors are read.

It imports no library: planning a run looks names up here, and :mod:`stages.vision.backbones.build` builds them.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from stages.vision.backbones.layouts import Layout

__all__ = ["BACKBONES", "Backbone", "Option", "backbone", "input_size", "is_backbone", "tap_path"]

Option = int | str | tuple[int, ...] | tuple[str, ...]
"""What a builder may be told."""

_OURS = Layout()
_TIMM = "timm:"


@dataclass(frozen=True)
class Backbone:
    """One entry of the table.

    builder: ``module.function`` of this package: number of classes, and `options` -> network with fresh weights.
    input_size: side in pixels of the square that the paper's setting feeds the network; None: `input_size` asks timm.
    taps: name of a layer in the literature -> module path inside the network; the first is the default.
    layout: what the names in published weights mean.
    aside: taps that nothing else in the network depends on, such as a transformer's `keys`; never a default.
    version: rises when the same name builds another network, so that trainings of the old one are not taken for it.
    """

    name: str
    builder: str
    input_size: int | None
    taps: Mapping[str, str]
    layout: Layout = _OURS
    version: int = 1
    aside: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)

    @property
    def default_tap(self) -> str:
        """Name of the tap that is read when none is asked for."""
        return next(iter(self.taps))


def _taps(**places: str) -> Mapping[str, str]:
    return MappingProxyType({tap: f"features.{place}" if place else "features" for tap, place in places.items()})


_LAYER3 = _taps(layer3="layer3", layer2="layer2", layer1="layer1")
_LAYER4 = _taps(layer4="layer4", layer3="layer3", layer2="layer2")
_VGG_CONV = {"relu5_3": "29", "relu5_2": "27", "relu4_3": "22", "pool4": "23"}
_VGG = _taps(pool5="30", **_VGG_CONV)
_VGG_D1 = _taps(features="", pool5="30", **_VGG_CONV)
_MOBILENET = _taps(features="", block13="13")
_MIXED_6 = {"mixed_6e": "Mixed_6e", "mixed_5d": "Mixed_5d"}
_DENSENET = _taps(features="", denseblock4="denseblock4", transition3="transition3", denseblock3="denseblock3")
_EFFICIENTNET = _taps(features="", stage7="7", stage6="6", stage5="5", stage4="4")
_PATCHES = _taps(features="")
_KEYS = _taps(keys="keys")

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
            Backbone("vgg16", "vgg.vgg16", 224, _VGG, _VGG_FULL, version=2),
            Backbone("vgg16_gap", "vgg.vgg16_gap", 224, _VGG, _VGG_CONVOLUTIONS),
            Backbone("vgg16_cam", "vgg.vgg16_cam", 224, _taps(**_VGG_CONV), _VGG_CONVOLUTIONS),
            Backbone("vgg16_acol", "vgg.vgg16_acol", 224, _taps(**_VGG_CONV), _VGG_CONVOLUTIONS),
            Backbone("vgg16_acol28", "vgg.vgg16_acol28", 224, _VGG_D1, _VGG_CONVOLUTIONS),
            Backbone("resnet50", "resnet.resnet50", 224, _LAYER4, _FC),
            Backbone("resnet50_s16", "resnet.resnet50", 224, _LAYER4, _FC, options={"stride_1": ("layer4",)}),
            Backbone("resnet50_s8", "resnet.resnet50", 224, _LAYER4, _FC, options={"stride_1": ("layer3", "layer4")}),
            Backbone("seresnet50", "resnet.seresnet50", 224, _LAYER4, _FC),
            Backbone("inception_v3", "inception.inception_v3", 299, _taps(mixed_7c="Mixed_7c", **_MIXED_6), _INCEPTION),
            Backbone("inception_v3_spg", "inception.inception_v3_spg", 224, _taps(**_MIXED_6), _TO_MIXED_6E),
            Backbone("densenet161", "convnets.densenet161", 224, _DENSENET, _DENSE),
            Backbone("efficientnet_b7", "convnets.efficientnet_b7", 600, _EFFICIENTNET, _CLASSIFIER_1),
            Backbone("vit_s16", "vit.vit_s16", 224, _PATCHES, _VIT, aside=_KEYS),
            Backbone("vit_s16_gap", "vit.vit_s16_gap", 224, _PATCHES, _VIT, aside=_KEYS),
            Backbone("vit_tiny_p8", "vit.vit_tiny_p8", 64, _PATCHES, _VIT, aside=_KEYS),
        )
    }
)


def backbone(name: str) -> Backbone:
    """Look a backbone up; ``timm:<name>`` is any vision transformer of timm, which judges the name when it is built.

    Raises: ValueError for an unknown name, which names the nearest known one.
    """
    if name.startswith(_TIMM):
        options = {"name": name.removeprefix(_TIMM)}
        return Backbone(name, "vit.timm_vit", None, _PATCHES, _VIT, aside=_KEYS, options=options)
    if name not in BACKBONES:
        raise ValueError(_unknown("backbone", name, BACKBONES))
    return BACKBONES[name]


def is_backbone(name: str) -> bool:
    """Whether `backbone` knows a name."""
    return name.startswith(_TIMM) or name in BACKBONES


def input_size(name: str) -> int:
    """A backbone's own input size, pixels. Raises ValueError for an unknown name, ModuleNotFoundError without timm."""
    size = backbone(name).input_size
    if size is not None:
        return size
    from stages.vision.backbones.libraries import timm_input_size  # timm brings torch along

    return timm_input_size(name.removeprefix(_TIMM))


def tap_path(name: str, tap: str | None = None) -> str:
    """Module path of a backbone's tap (None: its default); an unknown tap is a ValueError naming the nearest."""
    entry = backbone(name)
    tap = entry.default_tap if tap is None else tap
    known = {**entry.taps, **entry.aside}
    if tap not in known:
        raise ValueError(_unknown(f"tap of {name}", tap, known))
    return known[tap]


def _unknown(kind: str, name: str, known: Mapping[str, object]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f"unknown {kind} {name!r}: did you mean {nearest!r}? Known: {', '.join(known)}"
