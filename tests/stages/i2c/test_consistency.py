from functools import partial

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from stages.i2c.centres import ClassCentres
from stages.i2c.consistency import class_sums, distances, global_consistency, stochastic_consistency
from stages.i2c.parameters import DISTANCES
from stages.i2c.seeds import object_region, object_seeds, seed_vectors


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def features_and_seeds(seed=0):
    maps = normal(4, 6, 5, seed=seed)
    seeds = object_seeds(
        object_region(maps, 0.4), 3, "random", partial(torch.rand, generator=torch.Generator().manual_seed(seed))
    )
    return normal(4, 8, 6, 5, seed=seed + 1).requires_grad_(), seeds


@pytest.mark.parametrize("distance", DISTANCES)
def test_stochastic_consistency_is_pairwise(distance):
    """Breaks when seeds are compared with all of the other image, pairs are not adjacent, or a mean is a sum."""
    vectors = normal(6, 4, 7, dtype=torch.float64)
    power = 1 if distance == "euclidean" else 2
    found = [torch.dist(vectors[2 * pair, k], vectors[2 * pair + 1, k]) ** power for pair in range(3) for k in range(4)]
    torch.testing.assert_close(stochastic_consistency(vectors, distance), torch.stack(found).mean())


@pytest.mark.parametrize("distance", DISTANCES)
def test_two_equal_images_are_consistent(distance):
    """Breaks when equal seeds cost something, or the root's gradient at 0 is a NaN."""
    features, seeds = features_and_seeds()
    twins = features[:2].detach().repeat_interleave(2, dim=0).requires_grad_()
    loss = stochastic_consistency(seed_vectors(twins, seeds[:2].repeat_interleave(2, dim=0)), distance)
    loss.backward()
    assert loss == 0
    assert (twins.grad == 0).all()


@pytest.mark.parametrize("distance", DISTANCES)
def test_exchanging_a_pair_changes_nothing(distance):
    """Breaks when the two images play different parts."""
    vectors = normal(4, 3, 5)
    assert stochastic_consistency(vectors, distance) == stochastic_consistency(vectors[[1, 0, 3, 2]], distance)


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradient_lies_at_the_seeds(distance):
    """Breaks when the loss reads features elsewhere, or gradients miss a seed."""
    features, seeds = features_and_seeds()
    stochastic_consistency(seed_vectors(features, seeds), distance).backward()
    seeded = torch.zeros(4, 30, dtype=torch.bool).scatter(1, seeds, True).view(4, 1, 6, 5)
    assert (features.grad.any(dim=1, keepdim=True) == seeded).all()


def test_no_gradient_reaches_the_head():
    """Breaks when the choice of seeds, or vectors of the head's layers, tie the losses to the head."""
    torch.manual_seed(0)
    backbone, head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 5, 1)
    labels = torch.tensor([3, 3, 1, 1])
    features = backbone(normal(4, 3, 6, 5))
    maps = head(features)[torch.arange(4), labels]
    vectors = seed_vectors(features, object_seeds(object_region(maps), 3))
    loss = stochastic_consistency(vectors) + ClassCentres(5, 8, skip_unseen=False)(vectors, labels)
    gradients = torch.autograd.grad(loss, [head.weight, backbone.weight], allow_unused=True)
    assert [gradient is not None for gradient in gradients] == [False, True]
    assert gradients[1].any()


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradients_against_differences(distance):
    """Breaks when a part of a loss is detached by mistake."""
    centres, labels = normal(3, 5, seed=4, dtype=torch.float64), torch.tensor([2, 2, 0, 0])

    def total(vectors):
        sums = class_sums(vectors, labels, 3)
        return stochastic_consistency(vectors, distance) + global_consistency(
            *sums, centres, torch.ones(3, dtype=torch.bool), distance
        )

    assert torch.autograd.gradcheck(total, normal(4, 3, 5, dtype=torch.float64).requires_grad_())


def test_class_sums():
    """Breaks when an image is given to another class, or a class's images must be adjacent."""
    vectors, labels = normal(5, 3, 4), torch.tensor([2, 0, 2, 0, 2])
    sums, counts = class_sums(vectors, labels, 4)
    assert counts.tolist() == [6, 0, 9, 0]
    for label in range(4):
        torch.testing.assert_close(sums[label], vectors[labels == label].sum(dim=(0, 1)))


@pytest.mark.parametrize("distance", DISTANCES)
def test_global_consistency(distance):
    """Breaks when classes weigh by their images, absent classes count, or one not compared changes others' weight."""
    vectors, labels, centres = normal(6, 2, 4), torch.tensor([1, 1, 1, 1, 3, 3]), normal(5, 4, seed=2)
    sums = class_sums(vectors, labels, 5)
    power = 1 if distance == "euclidean" else 2
    one, other = (torch.dist(vectors[labels == y].mean(dim=(0, 1)), centres[y]) ** power for y in (1, 3))
    everything, without = torch.ones(5, dtype=torch.bool), torch.tensor([True, True, True, False, True])
    torch.testing.assert_close(global_consistency(*sums, centres, everything, distance), (one + other) / 2)
    torch.testing.assert_close(global_consistency(*sums, centres, without, distance), one / 2)


@pytest.mark.parametrize("distance", DISTANCES)
def test_at_the_centre_nothing_pulls(distance):
    """Breaks when the distance to one's own centre is not 0, or has a gradient."""
    vectors = normal(2, 1, 4).repeat_interleave(2, dim=0).requires_grad_()
    centres = vectors.detach()[::2, 0]
    labels = torch.tensor([0, 0, 1, 1])
    loss = global_consistency(*class_sums(vectors, labels, 2), centres, torch.ones(2, dtype=torch.bool), distance)
    loss.backward()
    assert loss == 0
    assert (vectors.grad == 0).all()


def test_half_precision_is_summed_in_float32():
    """Breaks under autocast when 2048 squares, or the sums of a class, are taken in bfloat16."""
    one, other = torch.ones(2, 1, 2048, dtype=torch.bfloat16).unbind()
    other = other.clone()
    other[0, 0] = 1.5
    labels = torch.zeros(2, dtype=torch.int64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert distances(one, other, "squared").item() == 0.25
        sums, counts = class_sums(torch.stack([one, other]).expand(2, 300, -1), labels, 1)
        assert sums.dtype == torch.float32
        assert sums[0, :2].tolist() == [750, 600]
        assert stochastic_consistency(torch.stack([one, other])).item() == 0.5
    assert counts.tolist() == [600]


def test_without_weight_the_plain_network_trains():
    """Breaks when seeds take numbers from dropout's generator, or weights of 0 leave a trace: bit for bit the same."""

    def trained(with_losses):
        torch.manual_seed(0)
        backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        head = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(8, 5, 1))
        centres = ClassCentres(5, 8, generator=torch.Generator().manual_seed(1))
        own = partial(torch.rand, generator=torch.Generator().manual_seed(2))
        network, labels = nn.ModuleList([backbone, head]), torch.tensor([3, 3, 1, 1])
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
        for step in range(3):
            features = backbone(normal(4, 3, 6, 5, seed=step))
            maps = head(features)
            loss = nn.functional.cross_entropy(maps.mean(dim=(2, 3)), labels)
            if with_losses:
                region = object_region(maps[torch.arange(4), labels])
                vectors = seed_vectors(features, object_seeds(region, 3, "random", own))
                loss = loss + 0.0 * stochastic_consistency(vectors) + 0.0 * centres(vectors, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return network.state_dict()

    plain, same = trained(False), trained(True)
    assert all(torch.equal(plain[name], same[name]) for name in plain)


@pytest.mark.parametrize("rule", ["random", "raster"])
def test_nothing_waits_for_the_device(rule):
    """Breaks when a step reads a value on the host: fake tensors have none, and a GPU would have to stop for it."""
    with FakeTensorMode():
        features, maps = torch.empty(6, 8, 7, 7, requires_grad=True), torch.empty(6, 7, 7)
        vectors = seed_vectors(features, object_seeds(object_region(maps), 3, rule))
        loss = stochastic_consistency(vectors) + ClassCentres(9, 8)(vectors, torch.empty(6, dtype=torch.int64))
        (gradient,) = torch.autograd.grad(loss, features)
    assert gradient.shape == features.shape


def test_wrong_arguments():
    """Breaks when images without a partner are dropped, or a misspelt distance means another."""
    with pytest.raises(ValueError, match="pairs"):
        stochastic_consistency(normal(3, 2, 4))
    with pytest.raises(ValueError, match="pairs"):
        stochastic_consistency(normal(0, 2, 4))
    with pytest.raises(ValueError, match="distance"):
        distances(normal(2), normal(2), "l2")  # type: ignore[arg-type]
