import pytest
import torch

from stages.vision.backbones.build import build
from stages.vision.backbones.last_block import freeze_below, last_block, quieten_frozen
from stages.vision.backbones.registry import BACKBONES

LAST = {
    "smallnet": ("layer3",),
    "smallnet_wide": ("layer3",),
    "mobilenet_v2": ("17", "18"),
    "mobilenet_v2_s8": ("17", "18"),
    **dict.fromkeys(("vgg16", "vgg16_gap", "vgg16_cam", "vgg16_acol", "vgg16_acol28"), ("24", "26", "28")),
    **dict.fromkeys(("resnet50", "resnet50_s16", "resnet50_s8", "resnet50_acol28", "seresnet50"), ("layer4",)),
    "inception_v3": ("Mixed_7c",),
    "inception_v3_spg": ("Mixed_6e",),
    "densenet161": ("denseblock4", "norm5"),
    "efficientnet_b7": ("7", "8"),
    **dict.fromkeys(("vit_s16", "vit_s16_gap"), ("transformer.blocks.11", "transformer.norm")),
    "vit_tiny_p8": ("transformer.blocks.3", "transformer.norm"),
}
"""Below `features`."""

OTHERS = {
    "efficientnet_lite0": ("blocks.6", "conv_head", "bn2"),
    "timm:tf_efficientnet_lite0": ("blocks.6", "conv_head", "bn2"),
    "timm:convnext_atto": ("stages.3",),
    "timm:regnety_002": ("s4",),
    "timm:mobilenetv3_small_050": ("blocks.4", "blocks.5", "conv_head"),
    "timm:vit_tiny_patch16_224": ("blocks.11", "norm"),
    "timm:swin_tiny_patch4_window7_224": ("layers.3", "norm"),
    "timm:test_nfnet": ("stages.3", "final_conv"),
    "timm:dpn48b": ("features.conv5_3", "features.conv5_bn_ac"),
}
"""Below whatever holds timm's network; what follows it there may be more."""


def network_of(name):
    with torch.device("meta"):
        return build(name, 2)


@pytest.mark.parametrize("name", LAST)
def test_the_last_block_of_the_networks_of_the_table(name):
    """Breaks when another part is frozen than the page of networks says, or a new network has no last block."""
    assert last_block(network_of(name)) == tuple(f"features.{own}" for own in LAST[name])


def test_every_network_of_the_table_is_looked_at():
    """Breaks when a network is added and nobody looked at what its last block is."""
    assert BACKBONES.keys() - {*LAST, *OTHERS} == set()


@pytest.mark.parametrize("name", OTHERS)
def test_the_last_block_of_networks_of_timm(name):
    """Breaks when a whole network, or its last single layer, is taken for its last block."""
    pytest.importorskip("timm")
    if name not in BACKBONES and not name.startswith("timm:"):
        pytest.skip(f"{name} is not in the table")
    try:
        network = network_of(name)
    except ValueError as error:
        pytest.skip(str(error))
    found = last_block(network)
    (place,) = {one.removesuffix(OTHERS[name][0]) for one in found if one.endswith(OTHERS[name][0])}
    own = tuple(one.removeprefix(place) for one in found)
    assert own[: len(OTHERS[name])] == OTHERS[name]


@pytest.mark.parametrize("name", ["smallnet", "vgg16", "inception_v3", "vit_tiny_p8", "densenet161"])
def test_what_is_frozen_is_what_is_below_the_last_block(name):
    """Breaks when a stem, a position embedding or a statistic still trains, or the last block and head no longer do."""
    network = network_of(name)
    could = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    freeze_below(network)
    network.train()
    quieten_frozen(network)
    inside = tuple(f"{one}." for one in last_block(network))
    for own, parameter in network.named_parameters():
        expected = own in could and (not own.startswith("features.") or own.startswith(inside))
        assert parameter.requires_grad is expected, own
    for own, module in network.named_modules():
        if next(module.children(), None) is None and own.startswith("features."):
            below = not f"{own}.".startswith(inside)
            trains = any(parameter.requires_grad for parameter in module.parameters())
            assert not (below and trains), own
            assert module.training is not below, own
    assert network.training
    assert network.classifier.training
