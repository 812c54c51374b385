from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.i2c.parameters import SEED_RULES
from stages.i2c.seeds import object_region, object_seeds, seed_vectors


def class_maps(images=4, height=6, width=5, seed=0):
    return torch.randn(images, height, width, generator=torch.Generator().manual_seed(seed)) * 3


def region_of(*rows):
    """One image an argument, in which x is object: `region_of("x..x")`, rows of a map separated by /."""
    return torch.stack([torch.tensor([[c == "x" for c in line] for line in text.split("/")]) for text in rows])


def generator(seed=0):
    return partial(torch.rand, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), threshold=st.floats(0, 0.999), number=st.integers(1, 40))
@pytest.mark.parametrize("rule", SEED_RULES)
def test_seeds_exceed_the_threshold(rule, seed, threshold, number):
    """Breaks when a seed lies outside its region, or a small region is filled up from elsewhere."""
    maps = class_maps(seed=seed)
    normalised = (maps - maps.amin((1, 2), keepdim=True)) / (maps.amax((1, 2)) - maps.amin((1, 2))).view(-1, 1, 1)
    seeds = object_seeds(object_region(maps, threshold), number, rule, generator(seed))
    assert seeds.shape == (4, number)
    assert (normalised.flatten(1).gather(1, seeds) > threshold).all()


def test_region_against_the_definition():
    """Breaks when the comparison is not strict, or images are normalised together."""
    maps = torch.tensor([[[0.0, 7.0], [7.5, 10.0]], [[-1.0, -1.0], [-2.0, -1.2]]])
    assert object_region(maps, 0.7).tolist() == [[[False, False], [True, True]], [[True, True], [False, True]]]


@pytest.mark.parametrize("value", [0.0, -3.0, torch.inf, torch.nan])
def test_a_map_without_contrast_has_one_position(value):
    """Breaks when an empty region reaches the division by its size; the released code crashes on it."""
    region = object_region(torch.full((2, 3, 4), value))
    assert region.flatten(1).sum(1).tolist() == [1, 1]
    assert object_seeds(region, 3, "random", generator()).unique(dim=1).shape == (2, 1)


def test_maximum_is_always_inside():
    """Breaks when the largest threshold leaves the region of a map with ties for its maximum, or of any, empty."""
    maps = class_maps(50)
    maps[0, 0], maps[0, 1:] = 5.0, 1.0
    region = object_region(maps, 0.9999)
    assert region.flatten(1).gather(1, maps.flatten(1).argmax(1, keepdim=True)).all()
    assert region[0].sum() == 5


def test_raster_takes_the_first_positions_in_turn():
    """Breaks when another order than row by row, or another refill than from the start, is taken."""
    region = region_of("..xx/.x.x", "..../...x", "xxxx/xxxx", ".x../x...")
    expected = [[2, 3, 5, 7, 2], [7] * 5, [0, 1, 2, 3, 4], [1, 4, 1, 4, 1]]
    assert object_seeds(region, 5, "raster").tolist() == expected


def test_more_seeds_than_positions():
    """Breaks when K is cut to the size of the map."""
    seeds = object_seeds(region_of("xx/xx", ".x/.."), 7, "raster")
    assert seeds.tolist() == [[0, 1, 2, 3, 0, 1, 2], [1] * 7]


def test_random_seeds_are_uniform_and_distinct():
    """Breaks when some positions or pairs are favoured, or one is drawn twice while others are left."""
    region = region_of("x.x.x/.x.x.").expand(20_000, 2, 5)
    seeds = object_seeds(region, 2, "random", generator())
    ordered = seeds.sort(dim=1).values
    pairs, counts = (ordered[:, 0] * 10 + ordered[:, 1]).unique(return_counts=True)
    assert len(pairs) == 10
    assert (ordered[:, 0] != ordered[:, 1]).all()
    assert (counts - 2000).abs().max() < 5 * 2000**0.5
    assert abs(int((seeds[:, 0] < seeds[:, 1]).sum()) - 10_000) < 5 * 5000**0.5, "the order is random too"


def test_small_regions_are_used_evenly():
    """Breaks when the refill draws anew: a region of 2 could give the same seed six times."""
    seeds = object_seeds(region_of("x./.x").expand(200, 2, 2), 6, "random", generator())
    assert ((seeds == 0).sum(dim=1) == 3).all()


def test_images_draw_for_themselves():
    """Breaks when one draw is shared by the batch."""
    seeds = object_seeds(torch.ones(2, 14, 14, dtype=torch.bool), 20, "random", generator())
    assert not torch.equal(seeds[0], seeds[1])


def test_generator_decides():
    """Breaks when seeds come from, or disturb, the global generator: dropout would change with them."""
    region = torch.ones(3, 9, 9, dtype=torch.bool)
    before = torch.get_rng_state()
    one = object_seeds(region, 4, "random", generator(3))
    assert torch.equal(one, object_seeds(region, 4, "random", generator(3)))
    assert not torch.equal(one, object_seeds(region, 4, "random", generator(4)))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_vectors_stand_at_the_seeds(layout):
    """Breaks when h and w, or seeds and channels, are exchanged."""
    features = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5).float().contiguous(memory_format=layout)
    seeds = torch.tensor([[0, 7, 19], [6, 6, 13]])
    vectors = seed_vectors(features, seeds)
    assert vectors.shape == (2, 3, 3)
    for image in range(2):
        for k, position in enumerate(seeds[image].tolist()):
            assert torch.equal(vectors[image, k], features[image, :, position // 5, position % 5])


def test_wrong_arguments():
    """Breaks when a misspelt rule silently means another."""
    with pytest.raises(ValueError, match="rule"):
        object_seeds(region_of("x"), 1, "first")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="number"):
        object_seeds(region_of("x"), 0)
    with pytest.raises(ValueError, match="threshold"):
        object_region(class_maps(), 1.0)
