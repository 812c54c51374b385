"""Formulas against autograd by hand, and what a call leaves behind."""

import gc
import itertools
from collections import OrderedDict

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from stages.gradcam.maps import TapError, gradient_maps
from stages.gradcam.options import METHODS
from stages.vision.backbones.build import build
from stages.vision.backbones.registry import tap_path

LAYER = "features.layer"
CLASSES = torch.tensor([2, 0, 2, 1, 1])
POSITIONS = 36


class Net(nn.Module):
    """A tapped convolution, an activation in place right behind it, a second convolution, GAP and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        children = OrderedDict(
            layer=nn.Conv2d(3, 5, 3, padding=1), relu=nn.ReLU(inplace=True), last=nn.Conv2d(5, 7, 3, padding=1)
        )
        self.features = nn.Sequential(children)
        self.classifier = nn.Linear(7, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images).mean(dim=(2, 3)))


def example():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net().eval(), torch.randn(5, 3, 6, 6)


def by_hand(network, images, classes=CLASSES):
    """The tapped layer's output F and dy/dF, without a hook."""
    features = network.features.layer(images).detach().requires_grad_()
    hidden = network.features.last(torch.relu(features)).mean(dim=(2, 3))
    score = network.classifier(hidden).gather(1, classes[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, features)
    return features.detach(), gradient


def grad_cam(f, g):
    return (g.mean(dim=(2, 3), keepdim=True) * f).sum(1)


def grad_cam_plus_plus(f, g):
    total = f.sum(dim=(2, 3), keepdim=True)
    alpha = torch.where(g != 0, g**2 / (2 * g**2 + total * g**3 + 1e-6), torch.zeros(()))
    return ((alpha * g.relu()).sum(dim=(2, 3), keepdim=True) * f).sum(1)


def layer_cam(f, g):
    return (g.relu() * f).sum(1)


def xgrad_cam(f, g):
    share = f / (f.sum(dim=(2, 3), keepdim=True) + 1e-7)
    return ((share * g).sum(dim=(2, 3), keepdim=True) * f).sum(1)


def hires_cam(f, g):
    return (g * f).sum(1)


def eigen_grad_cam(f, g):
    """Projection of each position's products on the eigenvector of their largest variance, towards their sum."""
    rows = (g * f).flatten(2).transpose(1, 2).double()
    rows = rows - rows.mean(dim=1, keepdim=True)
    component = torch.linalg.eigh(rows.transpose(1, 2) @ rows).eigenvectors[:, :, -1]
    projection = (rows @ component[:, :, None])[:, :, 0].unflatten(1, f.shape[2:])
    agreement = (projection * (g * f).sum(1)).sum(dim=(1, 2), keepdim=True)
    return (projection * agreement.sign()).float()


FORMULAS = {
    "gradcam": (grad_cam, POSITIONS),
    "gradcam_plusplus": (grad_cam_plus_plus, 1),
    "layercam": (layer_cam, POSITIONS),
    "xgradcam": (xgrad_cam, POSITIONS),
    "hirescam": (hires_cam, POSITIONS),
    "eigengradcam": (eigen_grad_cam, POSITIONS),
}


@pytest.mark.parametrize("method", FORMULAS)
def test_equals_its_formula_by_hand(method):
    """Breaks with another method's weights, another class's gradient, a map without ReLU, normalised or resized; and
    when the activation behind the layer, which works in place, overwrites what the layer put out."""
    network, images = example()
    formula, scale = FORMULAS[method]
    expected = formula(*by_hand(network, images)).relu() * scale
    maps, classes = gradient_maps(network, LAYER, images, method, CLASSES)
    assert maps.dtype == np.float32
    assert maps.shape == (5, 6, 6)
    assert expected.max() > 0, "a network whose maps are all zero would prove nothing"
    np.testing.assert_allclose(maps, expected.numpy(), rtol=1e-4, atol=1e-5 * float(expected.max()))
    np.testing.assert_array_equal(classes, CLASSES)


def test_score_cam_equals_its_formula_by_hand(capfd):
    """Breaks when masks of one image weigh another's channels, when the scores are another class's, or when the
    package's progress bars reach the terminal."""
    network, images = example()
    features = network.features.layer(images).detach()
    masks = (features - features.amin((2, 3), True)) / (features.amax((2, 3), True) - features.amin((2, 3), True))
    with torch.no_grad():
        scores = torch.stack([network(images * masks[:, k, None])[torch.arange(5), CLASSES] for k in range(5)], dim=1)
    expected = (scores.softmax(1)[:, :, None, None] * features).sum(1).relu()
    maps, _ = gradient_maps(network, LAYER, images, "scorecam", CLASSES)
    np.testing.assert_allclose(maps, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert capfd.readouterr().err == ""


def test_every_method_has_an_oracle():
    """Breaks when a method comes without its formula."""
    assert {*FORMULAS, "scorecam"} == set(METHODS)


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "xgradcam", "layercam"])
def test_before_average_pooling_grad_cam_is_cam(method):
    """There dy/dF is w / (h w) at every position, so these are ReLU(CAM); LayerCAM drops the negative weights first.
    Breaks when the gradient is that of a loss or a probability, or the factor h w is lost."""
    network = build("smallnet", 4, seed=3).eval()
    images, labels = torch.randn(3, 3, 32, 48, generator=torch.Generator().manual_seed(1)), torch.tensor([3, 0, 1])
    with torch.no_grad():
        features = network.features(images)
    weight = network.classifier.weight.detach()[labels]
    weight = weight.clamp(min=0) if method == "layercam" else weight
    expected = torch.einsum("bk,bkhw->bhw", weight, features).relu().numpy()
    maps, _ = gradient_maps(network, tap_path("smallnet"), images, method, labels)
    assert maps.shape == (3, 4, 6)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5 * expected.max())


@pytest.mark.parametrize("method", METHODS)
def test_a_map_does_not_depend_on_its_batch(method):
    """Breaks when a map takes something from its neighbours, or the sign of a projection is left to chance."""
    network = build("smallnet", 4, seed=3).eval()
    images, labels = torch.randn(7, 3, 32, 32, generator=torch.Generator().manual_seed(2)), torch.arange(7) % 4
    together, _ = gradient_maps(network, tap_path("smallnet", "layer2"), images, method, labels)
    for number in range(7):
        part = slice(number, number + 1)
        alone, _ = gradient_maps(network, tap_path("smallnet", "layer2"), images[part], method, labels[part])
        np.testing.assert_allclose(alone[0], together[number], rtol=1e-5, atol=1e-5 * together.max())


@pytest.mark.parametrize("method", ["layercam", "scorecam"])
def test_predicted_class_is_the_largest_logit(method):
    """Breaks when the map is another class's than the one that is returned."""
    network, images = example()
    with torch.no_grad():
        first = network(images).argmax(dim=1)
    maps, classes = gradient_maps(network, LAYER, images, method)
    np.testing.assert_array_equal(classes, first)
    np.testing.assert_array_equal(maps, gradient_maps(network, LAYER, images, method, first)[0])


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_gradients_are_on_whatever_the_caller_set(without):
    """Breaks when a caller that predicts without gradients gets an error or empty maps."""
    network, images = example()
    expected, _ = gradient_maps(network, LAYER, images, "layercam", CLASSES)
    with without():
        found, _ = gradient_maps(network, LAYER, images + 0, "layercam", CLASSES)
        assert not torch.is_grad_enabled()
    np.testing.assert_array_equal(found, expected)


def test_bad_taps_are_named_and_leave_no_hook():
    """Breaks when a layer that cannot be explained gives a map of zeros, or hooks wait for the error to be
    forgotten: until then its traceback keeps the package's object, which would remove them, alive."""
    network, images = example()
    network.unused = nn.Conv2d(3, 3, 1)
    network.beside = nn.Identity()
    network.forward = lambda images: (
        network.beside(network.beside(images)).sum() * 0 + Net.forward(network, images).detach()
    )
    before, errors = hooks(network), []
    for path, said in (
        ("features.nothing", "no module 'features.nothing'"),
        ("beside", "2 times"),
        ("unused", "do not depend"),
        ("classifier", "not one map"),
        (LAYER, "do not depend"),
    ):
        with pytest.raises(TapError, match=said) as raised:
            gradient_maps(network, path, images, "gradcam", CLASSES)
        errors.append(raised)
        assert hooks(network) == before
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_network_is_left_as_it_was():
    """Breaks when a frozen parameter thaws, a learning one stays frozen or holds a gradient, weights or statistics
    change, or the network is left in training mode."""
    network = build("smallnet", 4, seed=3).train()
    network.features.stem.requires_grad_(False)
    requires = [parameter.requires_grad for parameter in network.parameters()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for method in METHODS:
        gradient_maps(network, tap_path("smallnet"), torch.randn(2, 3, 32, 32), method)
    assert [parameter.requires_grad for parameter in network.parameters()] == requires
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module.training for module in network.modules())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_two_hundred_batches_leak_nothing():
    """Breaks when a hook stays (they add up), a graph or a gradient is kept alive, or memory grows by the pass."""
    network = build("smallnet", 4, seed=3).eval()
    images, process = torch.randn(4, 3, 32, 32), psutil.Process()
    methods = itertools.cycle(METHODS)

    def passes(number):
        for method in itertools.islice(methods, number):
            gradient_maps(network, tap_path("smallnet", "layer2"), images, method)
        gc.collect()
        return hooks(network), tensors(), process.memory_info().rss

    hooks_before, tensors_before, memory_before = passes(3 * len(METHODS))
    growth = []
    for _ in range(
        3
    ):  # a leak grows every time; an allocator that takes a piece more, in a process of thousands of tests, once
        hooks_after, tensors_after, memory_after = passes(200)
        assert (hooks_after, hooks_before) == (0, 0)
        assert tensors_after == tensors_before
        growth.append(memory_after - memory_before)
        memory_before = memory_after
    assert min(growth) < 8 * 2**20
    assert all(parameter.grad is None for parameter in network.parameters())


def hooks(network):
    """All hooks of all modules, forward and backward."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in network.modules() for kind in kinds)


def tensors():
    """Tensors that are alive in this process."""
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
