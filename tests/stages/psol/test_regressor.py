import numpy as np
import pytest
import torch
from torch import nn

from stages.psol.regressor import BoxRegressor, box_loss, pixel_boxes
from stages.vision.backbones.build import build
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.boxes import iou, normalise, xyxy_to_xywh


class Given(LocalizerNetwork):
    """Its images are its features."""

    def __init__(self, channels=8, classes=2):
        super().__init__(nn.Identity(), channels, classes)


def train(network, images, target, steps, rate):
    """Adam on the box loss; returns the last loss."""
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = box_loss(network(images)[0], target)
        loss.backward()
        optimiser.step()
        falling.step()
    return loss.item()


@pytest.mark.parametrize(("name", "pooling"), [("smallnet", 1), ("smallnet", 8), ("mobilenet_v2", 1)])
def test_outputs_start_in_the_middle(name, pooling):
    """Breaks when a branch starts at the sigmoid's ends, where a squared error does not move it."""
    regressor = BoxRegressor(build(name, 2), pooling)
    with torch.no_grad():
        output, logits = regressor(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert output.shape == (4, 4)
    assert logits is None
    assert ((output > 0.25) & (output < 0.75)).all()


def test_pooling_grid_sees_places():
    """Breaks when the grid is averaged away: global averaging is blind to where something is."""
    features = torch.zeros(2, 8, 4, 4)
    features[0, :, 0, 0] = features[1, :, 3, 3] = 1.0
    (blind, _), (seeing, _) = BoxRegressor(Given())(features), BoxRegressor(Given(), pooling=2)(features)
    torch.testing.assert_close(*blind)
    assert not torch.allclose(*seeing)


@pytest.mark.parametrize("pooling", [1, 4])
def test_joint_keeps_the_classifier_as_it_was(pooling):
    """Breaks when the branch changes what the classifier reads, or its layer starts afresh."""
    network, images = build("smallnet", 3).eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = network(images)
        boxes, logits = BoxRegressor(network, pooling, joint=True).eval()(images)
    torch.testing.assert_close(logits, expected)
    assert boxes.shape == (2, 4)


def test_sep_has_no_classifier():
    """Breaks when a layer that gets no gradient stays, which stops a training on several workers."""
    regressor = BoxRegressor(build("smallnet", 3))
    box_loss(regressor(torch.randn(2, 3, 32, 32))[0], torch.rand(2, 4)).backward()
    assert [name for name, value in regressor.named_parameters() if value.grad is None] == []


def test_a_loss_by_hand():
    """Breaks when the four numbers are summed, or weights scale anything but their own image."""
    target = torch.full((2, 4), 0.5)
    predicted = target + torch.tensor([[0.1], [0.2]])
    assert box_loss(predicted, target).item() == pytest.approx((0.01 + 0.04) / 2, rel=1e-5)
    weighted = box_loss(predicted, target, torch.tensor([0.5, 1.5]))
    assert weighted.item() == pytest.approx((0.5 * 0.01 + 1.5 * 0.04) / 2, rel=1e-5)
    torch.testing.assert_close(box_loss(predicted, target, torch.ones(2)), box_loss(predicted, target))
    assert box_loss(target.bfloat16(), target).dtype == torch.float32


def test_what_cannot_be_told_apart_gets_the_mean_box():
    """Breaks when the loss is no squared error: its minimum is the mean box, its floor the targets' variance."""
    target = torch.rand(8, 4, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    network = BoxRegressor(Given())
    loss = train(network, torch.ones(8, 8, 1, 1), target, steps=200, rate=1e-2)
    expected = target.mean(dim=0).expand(8, 4)
    torch.testing.assert_close(network(torch.ones(8, 8, 1, 1))[0], expected, atol=1e-3, rtol=0)
    assert loss == pytest.approx(target.var(dim=0, unbiased=False).mean().item(), rel=1e-3)


def regression_targets(boxes, width, height):
    """The network's output ``(N, 4)`` for pixel boxes ``(N, 4)``."""
    return xyxy_to_xywh(normalise(boxes, width, height)).astype(np.float32)


def test_sixteen_images_are_overfitted():
    """Breaks when targets, outputs and pixel boxes do not speak one language, and no box comes back."""
    generator = np.random.default_rng(0)
    corners = generator.integers(0, 14, (16, 2))
    boxes = np.hstack([corners, corners + generator.integers(8, 18, (16, 2))]).astype(float)
    images = torch.zeros(16, 3, 32, 32)
    for image, (x0, y0, x1, y1) in zip(images, boxes.astype(int), strict=True):
        image[:, y0:y1, x0:x1] = 1.0
    torch.manual_seed(0)
    network = BoxRegressor(build("smallnet", 2)).train()
    train(network, images, torch.from_numpy(regression_targets(boxes, 32, 32)), steps=250, rate=2e-3)
    found = pixel_boxes(network.eval()(images)[0].detach().numpy(), 32, 32)
    assert np.diag(iou(found, boxes)).min() > 0.9
    assert np.diag(iou(found, boxes)).mean() > 0.95


def test_targets_and_pixel_boxes_are_inverse():
    """Breaks when width and height are swapped, which no square image would show."""
    boxes = np.array([[10, 20, 50, 60], [0, 0, 320, 200], [300, 190, 320, 200]], dtype=np.float32)
    np.testing.assert_allclose(pixel_boxes(regression_targets(boxes, 320, 200), 320, 200), boxes, atol=1e-3)


def test_boxes_are_clipped_to_the_image():
    """Breaks when x + w beyond 1 is a box outside the picture."""
    np.testing.assert_allclose(pixel_boxes(np.array([[0.6, 0.7, 0.9, 0.9]]), 100, 50), [[60, 35, 100, 50]], atol=1e-4)
