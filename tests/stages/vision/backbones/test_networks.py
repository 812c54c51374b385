import pytest
import torch
from torch import nn

from stages.vision.backbones.build import build
from stages.vision.backbones.networks import LocalizerNetwork, conv_head
from stages.vision.backbones.registry import tap_path
from stages.vision.backbones.taps import tapped


def small(head=None, classifier_dim=None):
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU())
    return LocalizerNetwork(features, 5, 4, head, classifier_dim).double()


@pytest.mark.parametrize("widths", [(), (6,), (6, 7)])
def test_a_1x1_convolution_and_a_mean_equal_gap_and_a_linear_layer(widths):
    """Breaks when pooling, head or classifier leave the identity of both forms of CAM (Zhang et al. 2018, ACoL).

    The simplified form applies the classifier as a 1x1 convolution to the head's maps and takes the spatial mean of
    each class's map: same logits, and maps that differ by the bias alone.
    """
    head = conv_head(5, *widths) if widths else None
    network, images = small(head, widths[-1] if widths else None), torch.randn(3, 3, 12, 10, dtype=torch.float64)
    weight, bias = network.classifier.weight, network.classifier.bias
    maps = network.features(images) if head is None else head(network.features(images))
    simplified = nn.functional.conv2d(maps, weight[:, :, None, None], bias)
    classic = torch.einsum("ck,bkhw->bchw", weight, network.class_features(images))
    torch.testing.assert_close(network(images), simplified.mean(dim=(2, 3)))
    torch.testing.assert_close(simplified, classic + bias[:, None, None])


@pytest.mark.parametrize("name", ["smallnet", "mobilenet_v2", "vit_s16_gap"])
def test_logits_are_gap_and_the_classifier(name):
    """Breaks when a network of the table pools, scales or drops between its features and its classifier."""
    network, images = build(name, 7).eval(), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = network.classifier(network.features(images).mean(dim=(2, 3)))
        torch.testing.assert_close(network(images), expected)


def test_a_network_without_a_head_has_no_new_names():
    """Breaks when models saved before heads existed can no longer be loaded."""
    assert {name.split(".")[0] for name in small().state_dict()} == {"features", "classifier"}
    assert set(small(conv_head(5, 6), 6).state_dict()) - set(small().state_dict()) == {
        "head.conv6.weight",
        "head.conv6.bias",
    }


def test_cam_is_refused_where_it_is_not_defined():
    """Breaks when the class token's weights are multiplied with patch tokens: maps that look right and mean nothing."""
    network = build("vit_s16", 3)
    assert not network.has_cam
    assert build("vit_s16_gap", 3).has_cam
    with pytest.raises(TypeError, match="CAM is not defined"):
        network.class_features(torch.randn(1, 3, 32, 32))


def test_trained_parameters_are_all_that_train_once():
    """Breaks when the optimizer misses the head, trains what is frozen, or gets a parameter twice."""
    network = small(conv_head(5, 6), 6)
    network.features[0].bias.requires_grad_(False)
    body, head = network.trained_parameters()
    assert [name for name, _ in body] == ["features.0.weight"]
    assert [name for name, _ in head] == [
        "head.conv6.weight", "head.conv6.bias", "classifier.weight", "classifier.bias"
    ]  # fmt: skip


def last_keys(transformer, images):
    """Keys of the last block by the formulas of attention, (B, tokens, heads x channels): from its input up."""
    tokens = transformer.norm_pre(transformer._pos_embed(transformer.patch_embed(images)))
    for block in transformer.blocks[:-1]:
        tokens = block(tokens)
    attention, last = transformer.blocks[-1].attn, transformer.blocks[-1]
    width = attention.num_heads * attention.head_dim
    weight, bias = attention.qkv.weight[width : 2 * width], attention.qkv.bias[width : 2 * width]
    return nn.functional.linear(last.norm1(tokens), weight, bias)


@pytest.mark.parametrize(("side", "grid"), [((64, 64), (8, 8)), ((48, 80), (6, 10))])
def test_keys_are_those_of_the_last_block(side, grid):
    """Breaks when queries or values, another block, the class token, or columns first pass for the keys."""
    network, images = build("vit_tiny_p8", 2).eval(), torch.randn(2, 3, *side)
    with torch.inference_mode(), tapped(network, tap_path("vit_tiny_p8", "keys")) as keys:
        alone = network.features(images)
        expected = last_keys(network.get_submodule("features.transformer"), images)[:, 1:]
    assert keys.output.shape == (2, 96, *grid)
    torch.testing.assert_close(keys.output.flatten(2).mT, expected)
    with torch.inference_mode():
        torch.testing.assert_close(network.features(images), alone)
    assert not network.get_submodule("features.transformer.blocks.3.attn.qkv")._forward_hooks


def test_tokens_are_where_their_patches_are():
    """Breaks when tokens are laid out by columns, or the class token is taken for the first patch.

    Where blocks add nothing, a token depends on its own patch alone.
    """
    features = build("vit_s16_gap", 2).features.eval()
    for block in features.get_submodule("transformer").blocks.children():  # type: ignore[union-attr]
        for layer in (block.get_submodule("attn.proj"), block.get_submodule("mlp.fc2")):
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
    images = torch.zeros(1, 3, 48, 64)
    with torch.inference_mode():
        before = features(images)
        images[:, :, 16:32, 48:64] = 1
        changed = (features(images) - before).abs().amax(dim=(0, 1)) > 1e-6
    assert changed.shape == (3, 4)
    assert changed.nonzero().tolist() == [[1, 3]]
