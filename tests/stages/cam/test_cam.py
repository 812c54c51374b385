import pytest
import torch

from stages.cam.cam import class_activation_maps, pooled_logits


def example(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(4, 6, 5, 7, generator=generator, dtype=dtype)
    weight = torch.randn(3, 6, generator=generator, dtype=dtype)
    return features, weight, torch.tensor([2, 0, 2, 1])


def test_equals_a_1x1_convolution():
    """The simplified ACoL head is the same network: A_c = M_c + b_c. A wrong row of weights shows here."""
    features, weight, classes = example()
    bias = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    all_maps = torch.nn.functional.conv2d(features, weight[:, :, None, None], bias)
    expected = all_maps[torch.arange(4), classes] - bias[classes, None, None]
    torch.testing.assert_close(class_activation_maps(features, weight, classes), expected.float())


def test_mean_of_map_is_logit():
    """Pooling by sum, or maps of another layer than the logits', break the identity mean(M_c) + b_c = logit_c."""
    features, weight, classes = example()
    bias = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    logits = pooled_logits(features, weight, bias)
    maps = class_activation_maps(features, weight, classes)
    torch.testing.assert_close(logits[torch.arange(4), classes] - bias[classes].float(), maps.mean(dim=(1, 2)))


def test_gradient_of_logit():
    """d(logit_c)/dF is w_c / (h w) at every position: what makes CAM and Grad-CAM the same here."""
    features, weight, classes = example()
    features.requires_grad_()
    pooled_logits(features, weight)[torch.arange(4), classes].sum().backward()
    expected = (weight[classes] / 35)[:, :, None, None].expand_as(features)
    torch.testing.assert_close(features.grad, expected, check_dtype=False, atol=1e-7, rtol=1e-5)


def test_opposite_weights_give_the_opposite_map():
    """An activation on the map would lose its negative half."""
    features, weight, classes = example()
    torch.testing.assert_close(
        class_activation_maps(features, -weight, classes), -class_activation_maps(features, weight, classes)
    )


def test_half_precision_is_summed_in_float32():
    """Two thousand channels summed in bfloat16 leave two digits."""
    features, weight = torch.full((1, 2048, 1, 1), 1.0, dtype=torch.bfloat16), torch.full((1, 2048), 1.0)
    weight[0, 0] = 0.5
    result = class_activation_maps(features, weight, torch.tensor([0]))
    assert result.dtype == torch.float32
    assert result.item() == 2047.5


def test_shapes_are_checked():
    """One class for a batch of four would be broadcast to all."""
    features, weight, _ = example()
    with pytest.raises(ValueError, match=r"\(B, K, h, w\)"):
        class_activation_maps(features, weight, torch.tensor([1]))
