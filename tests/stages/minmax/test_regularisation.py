import copy

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from stages.minmax.parameters import SCALES
from stages.minmax.regularisation import (
    common_region,
    frozen,
    full_region,
    localization_maps,
    masked_descriptors,
    stage_two,
)

LABELS = torch.tensor([4, 4, 4, 1, 1, 1])


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def network():
    """A backbone with what differs between training and evaluation, in training mode, and a classifier of 5 classes."""
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.Dropout(0.5)
    )
    backbone(normal(16, 3, 12, 12, dtype=torch.float32))
    return backbone.double().train(), nn.Linear(8, 5).double()


def images(seed=3):
    return normal(6, 3, 12, 12, seed=seed)


def pairwise(sets):
    """CRR as the paper writes it."""
    n, size, _ = sets.shape
    found = [(one[i] - one[j]).square().sum() for one in sets for i in range(size) for j in range(size)]
    return torch.stack(found).sum() / (n * size * (size - 1))


@pytest.mark.parametrize("size", [2, 3, 5])
def test_common_region_is_pairwise(size):
    """Breaks when the variance is biased or not doubled, or classes are not averaged."""
    sets = normal(4, size, 7)
    torch.testing.assert_close(common_region(sets, "sum"), pairwise(sets))
    torch.testing.assert_close(common_region(sets, "mean"), pairwise(sets) / 7)
    if size == 2:
        torch.testing.assert_close(common_region(sets, "sum"), (sets[:, 0] - sets[:, 1]).square().sum(dim=-1).mean())


def test_full_region_against_the_definition():
    """Breaks when channels are averaged where they are summed, or FRR is a root."""
    masked, whole = normal(6, 7), normal(6, 7, seed=1)
    torch.testing.assert_close(full_region(masked, whole, "sum"), (masked - whole).square().sum() / 6)
    torch.testing.assert_close(full_region(masked, whole, "mean"), (masked - whole).square().mean())


def test_large_descriptors_keep_their_differences():
    """Breaks when the variance is E[f^2] - E[f]^2: in float32 a mean of 1000 leaves no digit of it."""
    sets = normal(2, 5, 7)
    shifted = (sets.float() + 1000).requires_grad_()
    torch.testing.assert_close(
        common_region(shifted), common_region(shifted.detach().double()).float(), rtol=1e-4, atol=0
    )


def test_maps_are_normalised_class_maps():
    """Breaks when another class's weights are read, a bias enters, or images are normalised together."""
    features, weight = normal(6, 8, 4, 5), normal(5, 8, seed=1)
    found = localization_maps(features, weight, LABELS)
    for image in range(6):
        raw = (weight[LABELS[image]].view(8, 1, 1) * features[image]).sum(dim=0)
        torch.testing.assert_close(found[image], (raw - raw.min()) / (raw.max() - raw.min()))


def test_masked_features_are_the_definition():
    """Breaks when table 2's other arm masks after pooling, or lets a gradient past the weight."""
    backbone, classifier = network()
    weight = classifier.weight.detach().requires_grad_()
    found = stage_two(backbone, images(), LABELS, weight, 3, (0.7, 10.0), masking="features")
    with frozen(backbone):
        features = backbone(images()).detach()
    maps = localization_maps(features, weight, LABELS)
    masked = (features * maps[:, None]).mean(dim=(2, 3))
    expected = 0.7 * common_region(masked.view(2, 3, 8)) + 10.0 * full_region(masked, features.mean(dim=(2, 3)))
    torch.testing.assert_close(found.loss, expected)
    found.loss.backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_opposite_weights_give_the_complement():
    """Breaks when negative evidence is cut off before the normalisation."""
    features, weight = normal(6, 8, 4, 5), normal(5, 8, seed=1)
    torch.testing.assert_close(
        localization_maps(features, -weight, LABELS), 1 - localization_maps(features, weight, LABELS)
    )


def test_the_input_is_masked():
    """Breaks when features are masked instead of the image: that costs 12 to 19 points on CUB (table 2)."""
    backbone, classifier = network()
    backbone.eval()
    with torch.no_grad():
        maps = localization_maps(backbone(images()), classifier.weight, LABELS)
        big = torch.nn.functional.interpolate(maps[:, None], (12, 12), mode="bilinear", align_corners=False)
        expected = torch.stack([backbone((images()[i] * big[i])[None])[0].mean(dim=(1, 2)) for i in range(6)])
        of_features = (backbone(images()) * maps[:, None]).mean(dim=(2, 3))
        found = masked_descriptors(backbone, images(), maps)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, of_features, atol=1e-2)


def test_a_map_of_ones_leaves_the_image():
    """Breaks when whole images are described by another pass or mode than masked ones: FRR must be 0."""
    backbone, _ = network()
    with frozen(backbone), torch.no_grad():
        whole = backbone(images()).mean(dim=(2, 3))
        masked = masked_descriptors(backbone, images(), torch.ones(6, 4, 4, dtype=torch.float64))
    assert full_region(masked, whole) == 0


@pytest.mark.parametrize("scale", SCALES)
def test_gradient_is_orthogonal_to_the_weights(scale):
    """Breaks when a map's minimum or maximum is taken as constant: H would change with the weights' length."""
    backbone, classifier = network()
    stage_two(backbone, images(), LABELS, classifier.weight, 3, (0.7, 10.0), scale).loss.backward()
    gradient, weight = classifier.weight.grad, classifier.weight.detach()
    for label in (1, 4):
        assert gradient[label].norm() > 1e-4
        cosine = torch.nn.functional.cosine_similarity(gradient[label], weight[label], dim=0)
        assert abs(cosine) < 1e-12
    assert (gradient[[0, 2, 3]] == 0).all(), "classes that the batch does not hold"


def test_gradient_against_differences():
    """Breaks when features of the first pass, or whole images' descriptors, are cut off wrongly."""
    backbone, classifier = network()

    def loss(weight):
        return stage_two(backbone, images(), LABELS, weight, 3, (0.7, 10.0)).loss

    assert torch.autograd.gradcheck(loss, classifier.weight.detach().requires_grad_())


def test_only_the_weight_learns():
    """Breaks when the backbone or the bias receives a gradient, or a scaled weight has another loss."""
    backbone, classifier = network()
    stage_two(backbone, images(), LABELS, classifier.weight, 3).loss.backward()
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert classifier.bias.grad is None
    losses = [stage_two(backbone, images(), LABELS, factor * classifier.weight, 3).loss for factor in (1, 7)]
    torch.testing.assert_close(*losses)


def test_backbone_is_left_as_it_was():
    """Breaks when running statistics move, dropout is drawn, or a part that was in eval mode starts to train."""
    backbone, classifier = network()
    backbone[1].eval()
    backbone[0].weight.requires_grad_(False)
    before, noise = copy.deepcopy(backbone.state_dict()), torch.get_rng_state()
    stage_two(backbone, images(), LABELS, classifier.weight, 3).loss.backward()
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    assert [part.training for part in backbone] == [True, False, True, True, True]
    assert not backbone[0].weight.requires_grad
    assert backbone[3].weight.requires_grad
    assert torch.equal(noise, torch.get_rng_state())


def test_failures_thaw_the_backbone():
    """Breaks when an error in the pass leaves a network that never trains again."""
    backbone, classifier = network()
    with pytest.raises(RuntimeError):
        stage_two(backbone, images()[:, :2], LABELS, classifier.weight, 3)
    assert all(part.training for part in backbone.modules())
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_equal_images_have_a_common_region():
    """Breaks when stage II runs in training mode: dropout and batch statistics tell equal images apart."""
    backbone, classifier = network()
    twins = images()[:2].repeat_interleave(3, dim=0)
    found = stage_two(backbone, twins, LABELS, classifier.weight, 3)
    assert found.common < 1e-30
    assert found.full > 0
    descriptors = masked_descriptors(backbone, twins, torch.ones(6, 4, 4, dtype=torch.float64))
    assert common_region(descriptors.view(2, 3, 8)) > 1e-3, "the network does tell them apart in training mode"


def test_parts_and_weights():
    """Breaks when lambda1 weighs FRR."""
    backbone, classifier = network()
    found = stage_two(backbone, images(), LABELS, classifier.weight, 3, (0.5, 4.0))
    torch.testing.assert_close(found.loss.detach(), 0.5 * found.common + 4 * found.full)
    both = stage_two(backbone, images(), LABELS, classifier.weight, 3, (0.5, 4.0), "sum")
    torch.testing.assert_close(both.loss, 8 * found.loss)


def test_without_weights_nothing_moves():
    """Breaks when stage II with lambda = (0, 0) is not CAM: its own optimizer must leave everything bit for bit."""
    backbone, classifier = network()
    before = copy.deepcopy(classifier.state_dict())
    optimizer = torch.optim.SGD([classifier.weight], lr=1.0, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        stage_two(backbone, images(), LABELS, classifier.weight, 3, (0.0, 0.0)).loss.backward()
        optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())


def test_steps_make_the_loss_smaller():
    """Breaks when a sign is wrong or a path for the gradient is missing."""
    backbone, classifier = network()
    optimizer = torch.optim.SGD([classifier.weight], lr=1.0)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = stage_two(backbone, images(), LABELS, classifier.weight, 3, (1.0, 1.0), "sum").loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


def test_a_constant_map_is_no_nan():
    """Breaks when a class map without contrast divides by 0: its NaN would reach the weights of all classes."""
    backbone, classifier = network()
    flat = images()
    flat[0] = 0.0
    with torch.no_grad():
        classifier.weight[4] = 0.0
    stage_two(backbone, flat, LABELS, classifier.weight, 3).loss.backward()
    assert (classifier.weight.grad[4] == 0).all()
    assert torch.isfinite(classifier.weight.grad).all()
    assert classifier.weight.grad[1].any()


def test_autocast_leaves_maps_and_losses_in_float32():
    """Breaks when class maps are summed in bfloat16: equal values would tie for the maximum."""
    features, weight = normal(6, 8, 4, 5, dtype=torch.float32), normal(5, 8, seed=1, dtype=torch.float32)
    expected = localization_maps(features, weight, LABELS)
    backbone, classifier = network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(localization_maps(features, weight, LABELS), expected)
        found = stage_two(backbone.float(), images().float(), LABELS, classifier.float().weight, 3)
        found.loss.backward()
    assert found.loss.dtype == torch.float32
    assert classifier.weight.grad.dtype == torch.float32


def test_nothing_waits_for_the_device():
    """Breaks when a step reads a value on the host: fake tensors have none, and a GPU would have to stop for it."""
    with FakeTensorMode():
        backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8))
        weight, labels = torch.empty(5, 8, requires_grad=True), torch.empty(6, dtype=torch.int64)
        loss = stage_two(backbone, torch.empty(6, 3, 12, 12), labels, weight, 3).loss
        (gradient,) = torch.autograd.grad(loss, weight)
    assert gradient.shape == weight.shape


def test_wrong_arguments():
    """Breaks when a set of one image gives a NaN, or a misspelt scale means another."""
    with pytest.raises(ValueError, match="two images"):
        common_region(normal(3, 1, 4))
    with pytest.raises(ValueError, match="scale"):
        full_region(normal(3, 4), normal(3, 4), "code")  # type: ignore[arg-type]
