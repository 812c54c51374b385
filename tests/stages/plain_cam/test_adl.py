import pytest
import torch
from torch import nn

from stages.plain_cam.adl import AttentionDropoutNetwork, attention_dropout, drop_mask, importance_map, self_attention
from stages.vision.backbones.build import build


def features(number=4):
    return torch.rand(number, 6, 5, 7, generator=torch.Generator().manual_seed(0))


def test_the_mask_drops_what_exceeds_the_fraction_of_the_images_own_maximum():
    """Breaks when the maximum is the batch's, the comparison is turned round, or channels are summed."""
    values = features() * torch.tensor([0.01, 1.0, 5.0, 100.0]).view(-1, 1, 1, 1)
    attention = self_attention(values)
    found = drop_mask(attention, 0.8)
    for image, mask in zip(values, found, strict=True):
        mean = image.sum(dim=0) / 6
        assert torch.equal(mask[0] == 0, mean > 0.8 * mean.max())
    assert set(found.unique().tolist()) == {0.0, 1.0}
    assert drop_mask(attention, 1.0).all()


def test_the_importance_map_is_the_sigmoid():
    """Breaks when the map is normalised, or not differentiable."""
    attention = self_attention(features()).requires_grad_()
    found = importance_map(attention)
    torch.testing.assert_close(found, 1 / (1 + (-attention).exp()))
    (gradient,) = torch.autograd.grad(found.sum(), attention)
    assert (gradient > 0).all()


@pytest.mark.parametrize("drops", [True, False])
def test_features_are_dropped_or_weighted(drops):
    """Breaks when the two choices are swapped."""
    values = features()
    attention = self_attention(values)
    expected = values * (drop_mask(attention, 0.8) if drops else importance_map(attention))
    assert torch.equal(attention_dropout(values, drops, 0.8), expected)


def test_no_gradient_passes_what_is_dropped_or_the_mask():
    """Breaks when dropped positions still learn, or the gradient is not simply the mask elsewhere."""
    values = features().requires_grad_()
    (gradient,) = torch.autograd.grad(attention_dropout(values, True, 0.6).sum(), values)
    assert torch.equal(gradient, drop_mask(self_attention(values), 0.6).expand_as(values))


def always() -> float:
    """What is drawn lies below a rate of 1."""
    return 0.999


@pytest.fixture
def network():
    return build("smallnet", 3)


IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_in_eval_mode_it_is_the_classifier_to_the_bit(network):
    """Breaks when dropout is active while maps are made."""
    wrapped = AttentionDropoutNetwork(network, ["features.layer3", "features.layer1"], 1.0, 0.5, always).eval()
    assert torch.equal(wrapped(IMAGES), network(IMAGES))


def test_it_works_behind_its_layers_and_nowhere_else(network):
    """Breaks when a layer is missed, or the layer's own output instead of what follows is read."""
    wrapped = AttentionDropoutNetwork(network, ["features.layer2"], 1.0, 0.5, always).train()
    found = wrapped(IMAGES)
    below = nn.Sequential(network.features.stem, network.features.layer1, network.features.layer2)
    dropped = attention_dropout(below(IMAGES), True, 0.5)
    torch.testing.assert_close(found, network.classifier(network.features.layer3(dropped).mean(dim=(2, 3))))


def test_no_hook_is_left_behind_even_by_an_error(network):
    """Breaks when the kept network still drops, in training or in a later stage."""
    wrapped = AttentionDropoutNetwork(network, ["features.layer3"], 1.0, 0.5, always).train()
    wrapped(IMAGES)
    with pytest.raises(RuntimeError):
        wrapped(IMAGES[:, :2])
    assert not any(module._forward_hooks for module in wrapped.modules())


def test_half_precision_is_averaged_in_float32():
    """Breaks when the mean over many channels, or the result, changes its type."""
    values = torch.ones(1, 2048, 2, 2, dtype=torch.bfloat16)
    values[0, 0] = 0.5
    assert self_attention(values)[0, 0, 0, 0].item() == 2047.5 / 2048
    assert attention_dropout(values, False, 0.8).dtype == torch.bfloat16


@pytest.mark.parametrize("rate", [0.25, 0.75])
def test_each_layer_draws_with_the_rate_of_the_drop_mask(network, rate):
    """Breaks when the rate is that of the importance map, or both layers share one choice."""
    numbers = [0.1, 0.5]
    wrapped = AttentionDropoutNetwork(
        network, ["features.layer1", "features.layer3"], rate, 0.5, iter(numbers).__next__
    )
    found = wrapped.train()(IMAGES)
    first, second = (number < rate for number in numbers)
    stem = network.features.layer1(network.features.stem(IMAGES))
    deep = network.features.layer3(network.features.layer2(attention_dropout(stem, first, 0.5)))
    expected = network.classifier(attention_dropout(deep, second, 0.5).mean(dim=(2, 3)))
    torch.testing.assert_close(found, expected)
