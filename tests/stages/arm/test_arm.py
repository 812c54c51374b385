"""Affinity refinement against what its equations imply."""

from dataclasses import replace

import pytest
import torch

from stages.arm.arm import affinities, refine, spread
from stages.arm.parameters import ArmParameters

PAPER = ArmParameters()
SHORT = ArmParameters(iterations=7)
every_border = pytest.mark.parametrize("border", ["replicate", "reflect"])


def example(seed=0, images=3, height=11, width=14):
    generator = torch.Generator().manual_seed(seed)
    colors = torch.rand(images, 3, height, width, generator=generator, dtype=torch.float64)
    return colors, torch.randn(images, height, width, generator=generator, dtype=torch.float64)


def two_colors(height=12, width=16):
    """A left half of one color and a right half of another."""
    left = (torch.arange(width) < width // 2).double().expand(1, 1, height, width)
    return torch.cat([left, 0.2 + 0.3 * left, 1 - left], dim=1)


def by_hand(colors, maps, parameters):
    """Equations 7 to 9 pixel by pixel, for one image and its nearest neighbours."""
    height, width = maps.shape[1:]
    around = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    spans = torch.tensor([(y * y + x * x) ** 0.5 for y, x in around], dtype=torch.float64)
    nearness = torch.softmax(-((spans / spans.std()) ** 2), 0)
    values = maps[0]
    for _ in range(parameters.iterations):
        after = torch.empty_like(values)
        for y in range(height):
            for x in range(width):
                places = [(min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)) for dy, dx in around]
                near = torch.stack([colors[0, :, r, c] for r, c in places])
                unlike = (((near - colors[0, :, y, x]) / near.std(dim=0)) ** 2).mean(dim=1)
                weights = torch.softmax(-unlike, 0) + parameters.position_weight * nearness
                mixed = sum(weight * values[r, c] for weight, (r, c) in zip(weights, places, strict=True))
                after[y, x] = parameters.eta * values[y, x] + (1 - parameters.eta) * mixed
        values = after
    return values[None]


def test_equations_pixel_by_pixel():
    """Breaks when a shift goes the wrong way, the deviation is not of the neighbours, or a term is left out."""
    colors, maps = example(images=1, height=6, width=7)
    few = replace(PAPER, iterations=3, position_weight=0.3)
    torch.testing.assert_close(spread(maps, affinities(colors, few), few), by_hand(colors, maps, few))


@every_border
@pytest.mark.parametrize("dilations", [(1,), (1, 3)])
def test_weights_sum_to_one_and_the_weight_of_position(border, dilations):
    """Breaks when a softmax runs over the wrong axis, or over each dilation by itself."""
    weights = affinities(example()[0], replace(PAPER, border=border, dilations=dilations))
    assert weights.shape == (3, 8 * len(dilations), 11, 14)
    torch.testing.assert_close(weights.sum(dim=1), torch.full((3, 11, 14), 1.01, dtype=torch.float64))


def test_position_is_a_mean_over_the_four_nearest():
    """Breaks when distances are not measured in their own deviation: diagonals have almost nothing (3e-10)."""
    flat = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    nearness = affinities(flat, replace(PAPER, position_weight=1.0))[0, :, 1, 1] - 1 / 8
    torch.testing.assert_close(nearness[[1, 3, 4, 6]], torch.full((4,), 0.25, dtype=torch.float64), atol=1e-8, rtol=0)
    assert (nearness[[0, 2, 5, 7]] < 1e-9).all()


@every_border
def test_spreading_is_linear_and_turning_over_commutes_with_it(border):
    """Breaks when anything but a linear map stands between the normalisations, so that turning a map changes it."""
    colors, maps = example()
    parameters = replace(SHORT, border=border)
    weights = affinities(colors, parameters)
    other = example(1)[1]
    together = spread(2 * maps - 3 * other, weights, parameters)
    apart = 2 * spread(maps, weights, parameters) - 3 * spread(other, weights, parameters)
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(refine(colors, -maps, parameters), 1 - refine(colors, maps, parameters))


def test_contrast_and_brightness_of_an_image_do_not_matter():
    """Breaks when likeness is measured in anything but the neighbours' own deviation, channel by channel."""
    colors, maps = example()
    gains, offsets = torch.tensor([3.0, 0.5, 200.0]).view(3, 1, 1), torch.tensor([-1.0, 4.0, 0.0]).view(3, 1, 1)
    torch.testing.assert_close(
        refine(colors * gains + offsets, maps, SHORT), refine(colors, maps, SHORT), atol=1e-5, rtol=0
    )


def test_a_constant_map_grows_by_the_weight_of_position():
    """Breaks when eta multiplies the wrong term: 0.1 + 0.9 * 1.01 an iteration, 1.565 after 50."""
    colors, _ = example(images=1)
    grown = spread(torch.ones(1, 11, 14, dtype=torch.float64), affinities(colors, PAPER), PAPER)
    torch.testing.assert_close(grown, torch.full_like(grown, 1.009**50))
    assert grown[0, 0, 0] == pytest.approx(1.565, abs=1e-3)
    assert not refine(colors, torch.full((1, 5, 5), 3.0), PAPER).any()


def test_a_flat_image_spreads_evenly_to_all_eight():
    """Breaks when a deviation of 0 gives NaN or prefers a neighbour."""
    dot = torch.zeros(1, 7, 7, dtype=torch.float64)
    dot[0, 3, 3] = 1
    once = replace(PAPER, iterations=1, position_weight=0.0)
    found = spread(dot, affinities(torch.full((1, 3, 7, 7), 0.4, dtype=torch.float64), once), once)
    expected = torch.zeros_like(dot)
    expected[0, 2:5, 2:5] = 0.9 / 8
    expected[0, 3, 3] = 0.1
    torch.testing.assert_close(found, expected)


def test_next_to_nothing_crosses_a_sharp_edge():
    """Breaks when weights ignore color: a map that ends short of an edge must end at it."""
    coarse = torch.zeros(1, 12, 16, dtype=torch.float64)
    coarse[:, 3:9, 2:6] = 1
    found = refine(two_colors(), coarse, replace(PAPER, position_weight=0.0))
    assert found[..., 8:].max() < 0.1
    assert found[0, 5, 7] > 0.3
    blurred = refine(torch.zeros(1, 3, 12, 16), coarse, replace(PAPER, position_weight=0.0))
    assert blurred[..., 8:].max() > 0.3


def test_nothing_moves_without_an_update():
    """Breaks when eta = 1 is not the identity, or an iteration is counted that was not asked for."""
    colors, maps = example()
    still = replace(PAPER, eta=1.0, position_weight=0.0)
    assert torch.equal(spread(maps, affinities(colors, still), still), maps)
    never = replace(PAPER, iterations=0)
    assert torch.equal(spread(maps, affinities(colors, never), never), maps)


def test_images_do_not_know_each_other():
    """Breaks when a statistic or a range is taken over the batch."""
    colors, maps = example()
    together = refine(colors, maps, SHORT)
    alone = [refine(colors[n : n + 1], maps[n : n + 1], SHORT)[0] for n in range(3)]
    torch.testing.assert_close(together, torch.stack(alone))
    assert together.flatten(1).amin(dim=1).eq(0).all()
    assert together.flatten(1).amax(dim=1).eq(1).all()


def test_maps_are_enlarged_and_half_precision_is_left():
    """Breaks when a coarse map is not brought to the image's size, or sums are taken in half precision."""
    colors, maps = example(height=12, width=16)
    found = refine(colors.half(), maps[:, :3, :4].half(), PAPER)
    assert found.shape == (3, 12, 16)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"iterations": -1}, "iterations must not be negative"),
        ({"eta": 1.1}, "eta must be in"),
        ({"position_weight": -0.1}, "position_weight must be 0 or more"),
        ({"dilations": ()}, "dilations must be"),
        ({"dilations": (0, 1)}, "dilations must be"),
        ({"border": "wrap"}, "border must be one of"),
    ],
)
def test_parameters_outside_their_range(wrong, said):
    """Breaks when a wrong value is found out only as a strange map."""
    with pytest.raises(ValueError, match=said):
        ArmParameters(**wrong)


def test_inputs_that_do_not_fit():
    """Breaks when a wrong axis is broadcast in silence, or a mirror is asked for more than there is."""
    colors, maps = example()
    with pytest.raises(ValueError, match="do not fit"):
        refine(colors, maps[:2], PAPER)
    with pytest.raises(ValueError, match="do not fit"):
        refine(colors[0], maps, PAPER)
    with pytest.raises(ValueError, match="dilation 11 is too large to mirror an image of 14x11"):
        refine(colors, maps, replace(PAPER, dilations=(1, 11), border="reflect"))
