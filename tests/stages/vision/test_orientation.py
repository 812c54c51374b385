"""Which side of a map is the object."""

import torch

from stages.vision.orientation import oriented, seed_regions


def example():
    maps = torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(0))
    maps[:, :3] += 2
    maps -= maps.amin(dim=(1, 2), keepdim=True)
    return maps / maps.amax(dim=(1, 2), keepdim=True)


def region(rows):
    seeds = torch.zeros(2, 6, 8, dtype=torch.bool)
    seeds[:, rows, 2:5] = True
    return seeds


def test_seeds_on_the_high_side_keep_the_map_and_on_the_low_side_turn_it():
    """Breaks when the shares are swapped, or the seeds of one image decide for another."""
    maps = example()
    assert torch.equal(oriented(maps, region(slice(0, 2))), maps)
    assert torch.equal(oriented(maps, region(slice(4, 6))), 1 - maps)
    mixed = torch.stack([region(slice(0, 2))[0], region(slice(4, 6))[1]])
    assert torch.equal(oriented(maps, mixed), torch.stack([maps[0], 1 - maps[1]]))


def test_a_map_and_its_reverse_come_out_the_same():
    """Breaks when the sign of an eigenvector can be seen behind the flip."""
    maps = example()
    for rows in (slice(0, 2), slice(4, 6), slice(2, 5)):
        torch.testing.assert_close(oriented(1 - maps, region(rows)), oriented(maps, region(rows)))


def test_shares_not_numbers_of_seeds_count():
    """Breaks when seeds are counted: a small high side that is all seeds loses against a large low side with more."""
    maps = torch.zeros(1, 10, 10)
    maps[0, :2, :2] = 1
    seeds = torch.zeros(1, 10, 10, dtype=torch.bool)
    seeds[0, :2, :2] = True
    seeds[0, 5:] = True
    assert torch.equal(oriented(maps, seeds), maps)


def test_nothing_to_decide_by_keeps_the_map():
    """Breaks when a tie, no seeds, or a constant map is turned over or becomes NaN."""
    maps = example()
    everywhere = torch.ones(2, 6, 8, dtype=torch.bool)
    assert torch.equal(oriented(maps, ~everywhere), maps)
    assert torch.equal(oriented(maps, everywhere), maps)
    flat = torch.zeros(2, 6, 8)
    assert torch.equal(oriented(flat, region(slice(0, 2))), flat)


def test_seeds_are_where_the_enlarged_map_is_high():
    """Breaks when beta is compared before the range is known, or on the coarse grid."""
    class_map = torch.tensor([[[-4.0, -4.0], [-4.0, 6.0]]])
    found = seed_regions(class_map, 8, 8, 0.6)
    assert found[0, 6:, 6:].all()
    assert not found[0, :4].any()
    assert torch.equal(found, seed_regions(3 * class_map + 5, 8, 8, 0.6))
    assert not seed_regions(torch.full((1, 2, 2), 7.0), 8, 8, 0.6).any()
