import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy

from stages.spa.parameters import PRESETS
from stages.spa.ram import pseudo_masks, restricted_activation_loss, softmax_variance


def class_maps(images=4, classes=7, height=6, width=5, seed=0):
    """Class maps that are multiples of 1/16, so that adding such numbers rounds nothing."""
    drawn = torch.randn(images, classes, height, width, generator=torch.Generator().manual_seed(seed)) * 3
    return (drawn * 16).round() / 16


LABELS = torch.tensor([0, 3, 6, 3])


def test_variance_against_the_definition():
    """Breaks when the variance is biased, over another axis, a deviation, or not normalised image by image."""
    maps = class_maps().double()
    exponentials = maps.exp()
    chances = exponentials / exponentials.sum(dim=1, keepdim=True)
    variance = ((chances - 1 / 7) ** 2).sum(dim=1) / 6
    for image, found in zip(variance, softmax_variance(maps), strict=True):
        torch.testing.assert_close(found, (image - image.min()) / (image.max() - image.min()))


def test_flat_logits_are_background():
    """Breaks when a constant variance divides 0 by 0, or counts as object."""
    maps = torch.full((2, 4, 5, 5), 1.5)
    assert (softmax_variance(maps) == 0).all()
    background, foreground = pseudo_masks(softmax_variance(maps), 0.1, 0.2)
    assert background.all()
    assert not foreground.any()
    loss = restricted_activation_loss(maps, torch.tensor([0, 3]), 0.1, 0.2)
    torch.testing.assert_close(loss, torch.tensor(1.5).sigmoid())


@pytest.mark.parametrize("seed", range(3))
def test_masks_ignore_what_all_classes_share(seed):
    """Breaks when raw activations, not their softmax, are compared."""
    maps = class_maps(seed=seed)
    shift = class_maps(classes=1, seed=seed + 10) * 2
    for one, other in zip(
        pseudo_masks(softmax_variance(maps), 0.2, 0.1),
        pseudo_masks(softmax_variance(maps + shift), 0.2, 0.1),
        strict=True,
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", range(3))
def test_masks_are_disjoint_and_the_loss_bounded(preset, seed):
    """Breaks when a comparison turns round, or the loss is a sum."""
    settings, maps = PRESETS[preset], class_maps(seed=seed)
    background, foreground = pseudo_masks(softmax_variance(maps), settings.threshold, settings.gap)
    assert background.any()
    assert foreground.any()
    assert not (background & foreground).any()
    assert 0 < restricted_activation_loss(maps, LABELS, settings.threshold, settings.gap) < 1


def test_without_gap_every_position_has_a_mask():
    """Breaks when the gap is not measured from tau; only equality with tau belongs to neither."""
    variance = softmax_variance(class_maps())
    threshold = variance[0, 2, 2].item()
    background, foreground = pseudo_masks(variance, threshold, 0.0)
    assert torch.equal(background | foreground, variance != threshold)
    assert not (background | foreground)[0, 2, 2]


def test_perfect_saturation_costs_nothing():
    """Breaks when object and background are exchanged, or another map than the label's is read."""
    maps = torch.full((1, 5, 4, 4), -200.0)
    maps[0, 2, 1:3, 1:3] = 200.0
    assert restricted_activation_loss(maps, torch.tensor([2]), 0.1, 0.2) == 0
    assert restricted_activation_loss(maps, torch.tensor([3]), 0.1, 0.2) == 0.25, (
        "a quarter is object, none of it active"
    )


def test_gradient_reaches_the_label_outside_the_band():
    """Breaks when masks carry gradient, the softmax leaks into other classes, or the band is pushed."""
    maps = class_maps().requires_grad_()
    restricted_activation_loss(maps, LABELS, 0.2, 0.3).backward()
    assert not softmax_variance(maps).requires_grad
    background, foreground = pseudo_masks(softmax_variance(maps), 0.2, 0.3)
    band = ~(background | foreground)
    assert band.any()
    own = maps.grad[torch.arange(4), LABELS]
    assert (own[background] > 0).all()
    assert (own[foreground] < 0).all()
    assert (own[band] == 0).all()
    others = torch.ones(4, 7, dtype=torch.bool)
    others[torch.arange(4), LABELS] = False
    assert (maps.grad[others] == 0).all()


def test_without_weight_the_baseline_trains():
    """Breaks when the loss leaves a trace in a step before its first epoch."""
    settings = PRESETS["cub"]
    assert settings.weight_at(19) == 0
    gradients = []
    for weight in (None, settings.weight_at(19), settings.weight_at(20)):
        maps = class_maps().requires_grad_()
        loss = cross_entropy(maps.mean(dim=(2, 3)), LABELS)
        if weight is not None:
            loss = loss + weight * restricted_activation_loss(maps, LABELS, settings.threshold, settings.gap)
        loss.backward()
        gradients.append(maps.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert not torch.equal(gradients[0], gradients[2])


def test_why_the_variance_is_normalised():
    """Breaks when raw values come back: of 1000 classes even certainty stays below every threshold in use."""
    certain = torch.zeros(1, 1000)
    certain[0, 0] = 1.0
    assert certain.var(dim=1).sqrt() < min(settings.threshold for settings in PRESETS.values())
    maps = torch.zeros(1, 1000, 2, 2)
    maps[0, 7, 0, 0] = 50.0
    _, foreground = pseudo_masks(softmax_variance(maps), 0.4, 0.1)
    assert foreground[0].tolist() == [[True, False], [False, False]]


def test_autocast_keeps_the_masks():
    """Breaks when the variance of half-precision maps is taken in half precision, where most of it vanishes."""
    maps = class_maps(classes=500).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = restricted_activation_loss(maps, LABELS, 0.1, 0.2)
    assert loss.dtype == torch.float32
    assert loss == restricted_activation_loss(maps.float(), LABELS, 0.1, 0.2)


def test_nothing_waits_for_the_device():
    """Breaks when a step reads a value on the host: fake tensors have none, and a GPU would have to stop for it."""
    with FakeTensorMode():
        maps = torch.empty(4, 7, 6, 5, requires_grad=True)
        loss = restricted_activation_loss(maps, torch.empty(4, dtype=torch.int64), 0.1, 0.2)
        (gradient,) = torch.autograd.grad(loss, maps)
    assert gradient.shape == maps.shape


def test_wrong_arguments():
    """Breaks when a single class gives a NaN, or masks may overlap."""
    with pytest.raises(ValueError, match="two of them"):
        softmax_variance(class_maps(classes=1))
    with pytest.raises(ValueError, match="gap"):
        pseudo_masks(torch.zeros(1, 2, 2), 0.5, -0.1)
