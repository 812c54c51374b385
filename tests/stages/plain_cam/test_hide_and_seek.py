import pytest
import torch

from stages.plain_cam.hide_and_seek import hide_patches, patch_side
from stages.vision.batches import to_batch
from stages.vision.preprocessing import IMAGENET


def images(number=3, height=20, width=26):
    """Images without a zero, so that what is hidden can be told."""
    drawn = torch.rand(number, 3, height, width, generator=torch.Generator().manual_seed(0)) + 0.5
    return drawn.to(memory_format=torch.channels_last)


def test_hidden_patches_lie_on_the_grid():
    """Breaks when a patch is hidden in part, in one channel alone, or the grid does not begin at the corner."""
    torch.manual_seed(1)
    whole = images()
    seen = hide_patches(whole, 8, 0.5)
    hidden = seen == 0
    assert torch.equal(seen[~hidden], whole[~hidden])
    assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))
    shares = {
        float(hidden[n, 0, y : y + 8, x : x + 8].float().mean())
        for n in range(3)
        for y in range(0, 20, 8)
        for x in range(0, 26, 8)
    }
    assert shares == {0.0, 1.0}


def test_images_hide_different_patches():
    """Breaks when one mask is drawn for the whole batch."""
    torch.manual_seed(0)
    masks = {tuple((image == 0).flatten().tolist()) for image in hide_patches(images(8), 4, 0.5)}
    assert len(masks) == 8


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_expected_share_is_the_rate(rate):
    """Breaks when the rate is that of keeping, or applies to something else than patches: 4 deviations are allowed."""
    torch.manual_seed(2)
    hidden = hide_patches(torch.ones(100, 3, 40, 40), 4, rate) == 0
    deviation = (rate * (1 - rate) / (100 * 100)) ** 0.5
    assert abs(float(hidden.float().mean()) - rate) < 4 * deviation


def test_rate_0_is_the_identity_to_the_bit_and_rate_1_hides_all():
    """Breaks when an end of the range belongs to the other side, or what is kept is rescaled."""
    assert torch.equal(hide_patches(images(), 8, 0.0), images())
    assert not hide_patches(images(), 8, 1.0).any()


def test_what_is_hidden_is_the_mean_colour():
    """Breaks when hidden pixels are black: 0 of a normalised image is ImageNet's mean colour."""
    mean = torch.tensor([0.485, 0.456, 0.406])
    grey = to_batch([(mean * 255).round().byte().expand(4, 4, 3).numpy()], IMAGENET)
    torch.testing.assert_close(hide_patches(images(1, 4, 4), 2, 1.0), torch.zeros(1, 3, 4, 4))
    assert float(grey.abs().max()) < 0.01


@pytest.mark.parametrize(("size", "side"), [(224, 44), (448, 88), (64, 13), (2, 1)])
def test_the_patch_scales_with_the_input(size, side):
    """Breaks when patches of 44 pixels cover most of a small input."""
    assert patch_side(44.0, size) == side


def test_the_memory_order_stays():
    """Breaks when channels-last batches become others, on which convolutions are slower."""
    assert hide_patches(images(), 8, 0.5).is_contiguous(memory_format=torch.channels_last)
