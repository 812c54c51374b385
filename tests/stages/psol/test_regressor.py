import numpy as np
import pytest
import torch
from torch import nn

from stages.psol.regressor import BoxRegressor, box_loss, pixel_boxes, regression_targets
from stages.vision.boxes import iou


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def tiny(pooling=1, width=16):
    """A network small enough to overfit in a second."""
    torch.manual_seed(0)
    features = nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, stride=2, padding=1),
        nn.ReLU(),
    )
    return BoxRegressor(features, width, pooling)


def test_head_sizes_of_the_paper():
    """The parameter counts behind PSOL's table 2: a hidden layer more or less shows."""
    assert parameters(BoxRegressor(nn.Identity(), 2048).head) == 1_051_140
    assert parameters(BoxRegressor(nn.Identity(), 4096).head) == 2_099_716


def test_outputs_start_in_the_middle():
    """A head that starts at the sigmoid's ends does not learn under a squared error."""
    output = tiny()(torch.randn(5, 3, 32, 32))
    assert output.shape == (5, 4)
    assert ((output > 0.2) & (output < 0.8)).all()


def test_pooling_grid_sees_places():
    """Global averaging is blind to where something is; the pooling option exists to change that."""
    features = torch.zeros(2, 8, 4, 4)
    features[0, :, 0, 0] = features[1, :, 3, 3] = 1.0
    blind, seeing = BoxRegressor(nn.Identity(), 8), BoxRegressor(nn.Identity(), 8, pooling=2)
    torch.testing.assert_close(*blind(features))
    assert not torch.allclose(*seeing(features))


def test_loss():
    """The weight of 50 belongs to the learning rate of the recipe: without it training is 50 times slower."""
    target = torch.full((3, 4), 0.5)
    assert box_loss(target + 0.1, target).item() == pytest.approx(0.5, rel=1e-5)
    assert box_loss(target.bfloat16(), target).dtype == torch.float32


def test_constant_targets_are_learned():
    """With one box for all images the network must put out that box, and the loss must reach its floor."""
    network, images = tiny(), torch.randn(8, 3, 16, 16)
    target = torch.tensor([0.1, 0.3, 0.6, 0.4]).repeat(8, 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        loss = box_loss(network(images), target)
        loss.backward()
        optimiser.step()
    np.testing.assert_allclose(network(images).detach().numpy(), target.numpy(), atol=0.01)
    assert loss.item() < 0.01


def test_sixteen_images_are_overfitted():
    """Targets, outputs and pixel boxes must speak one language for the boxes to come back."""
    generator = np.random.default_rng(0)
    corners = generator.integers(0, 14, (16, 2))
    boxes = np.hstack([corners, corners + generator.integers(8, 18, (16, 2))]).astype(float)
    images = torch.zeros(16, 3, 32, 32)
    for image, (x0, y0, x1, y1) in zip(images, boxes.astype(int), strict=True):
        image[:, y0:y1, x0:x1] = 1.0
    target = torch.from_numpy(regression_targets(boxes, 32, 32))
    network = tiny(pooling=8)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(250):
        optimiser.zero_grad()
        box_loss(network(images), target).backward()
        optimiser.step()
    found = pixel_boxes(network(images).detach().numpy(), 32, 32)
    assert np.diag(iou(found, boxes)).min() > 0.9
    assert np.diag(iou(found, boxes)).mean() > 0.95


def test_targets_and_pixel_boxes_are_inverse():
    """Width and height swapped would be noticed on no square image."""
    boxes = np.array([[10, 20, 50, 60], [0, 0, 320, 200], [300, 190, 320, 200]], dtype=np.float32)
    np.testing.assert_allclose(pixel_boxes(regression_targets(boxes, 320, 200), 320, 200), boxes, atol=1e-3)


def test_boxes_are_clipped_to_the_image():
    """x + w beyond 1 would be a box outside the picture."""
    np.testing.assert_allclose(pixel_boxes(np.array([[0.6, 0.7, 0.9, 0.9]]), 100, 50), [[60, 35, 100, 50]], atol=1e-4)
