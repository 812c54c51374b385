import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from stages.plain_cam.cutmix import Mixed, draw_box, mix, mixed_cross_entropy, random_box

HEIGHT, WIDTH = 12, 20


def batch(number=6):
    """Images of one number each, and as label that number."""
    labels = torch.arange(number)
    return labels.float().view(-1, 1, 1, 1).expand(-1, 3, HEIGHT, WIDTH).contiguous(), labels


def test_the_box_is_of_the_other_image_and_its_area_is_the_other_labels_share():
    """Breaks when lambda is the one that was drawn, before the box was clipped and rounded, or labels are swapped."""
    images, labels = batch()
    generator, shares = np.random.default_rng(0), set()
    for _ in range(40):
        mixed = mix(images, labels, random_box(HEIGHT, WIDTH, generator.random(), generator))
        for image, own, other in zip(mixed.images, mixed.labels, mixed.others, strict=True):
            assert set(image.unique().tolist()) <= {float(own), float(other)}
            assert {int(own), int(other)} in ({0, 1}, {2, 3}, {4, 5})
            assert (image == own).float().mean().item() == pytest.approx(mixed.kept, abs=1e-6)
        shares.add(round(mixed.kept, 6))
        assert torch.equal(mixed.labels, labels)
    assert len(shares) > 20


def test_a_box_has_the_images_aspect_ratio_and_stays_inside():
    """Breaks when a side is not the root of the area's share, or a box reaches beyond the image."""
    generator = np.random.default_rng(0)
    boxes = [random_box(100, 200, 0.75, generator) for _ in range(300)]
    spans = [(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in boxes]
    assert max(spans) == (50, 100)
    assert min(high for high, _ in spans) < 30
    assert min(wide for _, wide in spans) < 60
    assert all(0 <= rows.start <= rows.stop <= 100 for rows, _ in boxes)
    assert all(0 <= columns.start <= columns.stop <= 200 for _, columns in boxes)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_ends_of_lambda(share):
    """Breaks when lambda 1 still pastes something, or lambda 0 takes the root of a negative number."""
    rows, columns = random_box(HEIGHT, WIDTH, share, np.random.default_rng(0))
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    assert area == 0 if share == 1.0 else area > 0


def test_labels_are_weighted_by_lambda():
    """Breaks when the weights do not sum to one or belong to the wrong label."""
    torch.manual_seed(0)
    logits, labels, others = torch.randn(4, 5), torch.tensor([0, 1, 2, 3]), torch.tensor([4, 3, 2, 1])
    targets = 0.7 * torch.eye(5)[labels] + 0.3 * torch.eye(5)[others]
    found = mixed_cross_entropy(logits, Mixed(torch.empty(0), labels, others, 0.7))
    torch.testing.assert_close(found, cross_entropy(logits, targets))


def test_without_a_box_it_is_cross_entropy_to_the_bit():
    """Breaks when a batch that is not mixed loses its labels or its last bits."""
    images, labels = batch()
    mixed, logits = mix(images, labels, None), torch.randn(6, 6)
    assert mixed.images is images
    assert torch.equal(mixed_cross_entropy(logits, mixed), cross_entropy(logits, labels))


def test_probability_is_that_of_mixing():
    """Breaks when the probability is turned round: 4 deviations are allowed."""
    generator = np.random.default_rng(0)
    mixed = sum(draw_box(20, 1.0, 0.3, generator) is not None for _ in range(400))
    assert abs(mixed / 400 - 0.3) < 4 * (0.3 * 0.7 / 400) ** 0.5


def test_a_small_beta_mixes_hardly_anything_more_often():
    """Breaks when the parameter of the distribution is ignored."""
    generator, images, labels = np.random.default_rng(0), torch.zeros(2, 3, 40, 40), torch.tensor([0, 1])
    small, large = (
        sum(mix(images, labels, draw_box(40, beta, 1.0, generator)).kept > 0.95 for _ in range(200))
        for beta in (0.1, 50.0)
    )
    assert (small > 40, large) == (True, 0)


def test_the_given_images_stay():
    """Breaks when a box is written into the batch itself, before its other boxes were read."""
    images, labels = batch()
    mix(images, labels, (slice(2, 7), slice(3, 9)))
    assert torch.equal(images, batch()[0])
